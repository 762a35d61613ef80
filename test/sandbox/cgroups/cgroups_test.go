package cgroups

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const (
		root    = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
		unified = "30 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
	)
	tests := map[string]struct {
		mountinfo string
		want      []Hierarchy
		err       error
	}{
		"version 2": {
			mountinfo: root + unified,
			want:      []Hierarchy{{Mount: "/sys/fs/cgroup"}},
		},
		"version 1, one controller each": {
			mountinfo: root +
				"32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n" +
				"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" +
				"40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/systemd/agent,name=systemd\n",
			want: []Hierarchy{
				{"/sys/fs/cgroup/cpu", "cpu"},
				{"/sys/fs/cgroup/memory", "memory"},
				{"/sys/fs/cgroup/systemd", "none,name=systemd"},
			},
		},
		"version 1, controllers together and a cloned cpuset": {
			mountinfo: root +
				"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:4 master:1 - cgroup cgroup rw,cpu,cpuacct\n" +
				"33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,clone_children\n" +
				"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			want: []Hierarchy{
				{"/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"},
				{"/sys/fs/cgroup/cpuset", "cpuset"},
				{"/sys/fs/cgroup/memory", "memory"},
			},
		},
		"hybrid: version 1 holds the controllers": {
			mountinfo: "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
				"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			want: []Hierarchy{{"/sys/fs/cgroup/memory", "memory"}},
		},
		"version 2 beside a named version 1 hierarchy without controllers": {
			mountinfo: unified + "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n",
			want:      []Hierarchy{{Mount: "/sys/fs/cgroup"}},
		},
		"the same hierarchy mounted twice": {
			mountinfo: "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
				"99 31 0:32 / /mnt/again rw - cgroup cgroup rw,memory\n",
			want: []Hierarchy{{"/sys/fs/cgroup/memory", "memory"}},
		},
		"a mount point with a space": {
			mountinfo: `35 31 0:32 / /mnt/my\040cgroup rw - cgroup2 cgroup2 rw` + "\n",
			want:      []Hierarchy{{Mount: "/mnt/my cgroup"}},
		},
		"none":                {mountinfo: root, err: ErrNone},
		"nothing":             {mountinfo: "", err: ErrNone},
		"lines cut short":     {mountinfo: "35 31 0:32 / - cgroup\n35 - \n", err: ErrNone},
		"version 1 no memory": {mountinfo: "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", err: ErrNone},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tt.mountinfo)
			if !errors.Is(err, tt.err) || !slices.Equal(got, tt.want) {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestToEnable(t *testing.T) {
	tests := []struct{ available, enabled, want string }{
		{"cpuset cpu io memory hugetlb pids rdma misc", "", "+cpuset +cpu +io +memory +hugetlb +pids"},
		{"cpuset cpu io memory pids", "cpu memory", "+cpuset +io +pids"},
		{"cpu memory", "memory cpu", ""},
		{"rdma misc", "", ""},
		{"", "", ""},
	}
	for _, tt := range tests {
		if got := toEnable(tt.available, tt.enabled); got != tt.want {
			t.Errorf("available %q, enabled %q: enable %q, want %q", tt.available, tt.enabled, got, tt.want)
		}
	}
}

// Folders stand in for cgroups: what is written and where is the same.
func TestCreateAndRemove(t *testing.T) {
	v2, memory, cpuset := t.TempDir(), t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(v2, "cgroup.controllers"):            "cpu memory",
		filepath.Join(v2, "cgroup.subtree_control"):        "cpu memory",
		filepath.Join(v2, "own", "cgroup.controllers"):     "cpu memory",
		filepath.Join(v2, "own", "cgroup.subtree_control"): "",
		filepath.Join(cpuset, "cpuset.cpus"):               "0-1",
		filepath.Join(cpuset, "cpuset.mems"):               "0",
		filepath.Join(cpuset, "own", "cpuset.cpus"):        "",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree := Tree{Name: "own", Hierarchies: []Hierarchy{{Mount: v2}, {memory, "memory"}, {cpuset, "cpuset"}}}
	for range 2 { // what an interrupted start left is no obstacle
		if err := tree.Create("control", "node1"); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		filepath.Join(v2, "cgroup.subtree_control"):        "cpu memory",
		filepath.Join(v2, "own", "cgroup.subtree_control"): "+cpu +memory",
		filepath.Join(cpuset, "own", "cpuset.cpus"):        "0-1",
		filepath.Join(cpuset, "own", "cpuset.mems"):        "0",
	} {
		if got, err := os.ReadFile(path); string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
		}
	}
	for _, mount := range []string{v2, memory, cpuset} {
		for _, leaf := range []string{"control", "node1"} {
			if _, err := os.Stat(filepath.Join(mount, "own", leaf)); err != nil {
				t.Error(err)
			}
		}
	}
	if !exists(tree) {
		t.Error("the branch is there and is not seen")
	}
}

func TestRemoveOfNothing(t *testing.T) {
	tree := Tree{Name: "own", Hierarchies: []Hierarchy{{Mount: t.TempDir()}}}
	if err := tree.Remove(t.Context()); err != nil || exists(tree) {
		t.Errorf("got %v, exists %v", err, exists(tree))
	}
}

func exists(t Tree) bool {
	return slices.ContainsFunc(t.Hierarchies, func(h Hierarchy) bool {
		_, err := os.Stat(filepath.Join(h.Mount, t.Name))
		return err == nil
	})
}
