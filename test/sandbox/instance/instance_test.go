package instance

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/cgroups"
)

func TestNewRefuses(t *testing.T) {
	tests := map[string]struct {
		cache assets.Cache
		name  string
		nodes int
	}{
		"empty name":                 {"/root/c", "", 1},
		"name that leaves a folder":  {"/root/c", "../x", 1},
		"name with a slash":          {"/root/c", "a/b", 1},
		"upper case":                 {"/root/c", "A", 1},
		"too long":                   {"/root/c", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop", 1},
		"no nodes":                   {"/root/c", "a", 0},
		"too many nodes":             {"/root/c", "a", maxNodes + 1},
		"cache that nodes can't see": {"/tmp/cache", "a", 1},
		"cache under /var/lib":       {"/var/lib/ci", "a", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if s, err := New(tt.cache, tt.name, tt.nodes, nil); err == nil {
				t.Errorf("accepted as %+v", s)
			}
		})
	}
}

// Every part reads the description that the keeper wrote.
func TestWriteAndRead(t *testing.T) {
	want, err := New("/root/c", "a-1", 2, []cgroups.Hierarchy{{Mount: "/sys/fs/cgroup/cpu", Options: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	want.Cache = assets.Cache(t.TempDir())
	want.Keeper, want.Fabric, want.APIServer = 7, 8, "127.0.0.1:9"
	lock, err := Lock(want.Cache, want.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := Read(want.File()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before it is written: %v", err)
	}
	if err := os.MkdirAll(want.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := want.Write(); err != nil {
		t.Fatal(err)
	}
	got, err := Read(want.File())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLock(t *testing.T) {
	cache := assets.Cache(t.TempDir())
	s := &Spec{Name: "a", Cache: cache}
	if s.Kept() {
		t.Error("an instance that never was is kept")
	}
	lock, err := Lock(cache, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(cache, "a"); !errors.Is(err, ErrRunning) {
		t.Errorf("the second lock: %v", err)
	}
	if !s.Kept() {
		t.Error("a locked instance is not kept")
	}
	lock.Close()
	if s.Kept() {
		t.Error("an instance is kept after its keeper")
	}
	names, err := Names(cache)
	if diff := cmp.Diff([]string{"a"}, names); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// Addresses of nodes, pods and Services must not overlap, for every node.
func TestAddressesAreDistinct(t *testing.T) {
	for _, f := range (&Spec{IPv6First: true}).Families() {
		if f.Fabric.Overlaps(f.Cluster) || f.Fabric.Overlaps(f.Service) || f.Cluster.Overlaps(f.Service) {
			t.Errorf("ranges of %v overlap", f)
		}
		if !f.Service.Contains(f.ServiceIP()) {
			t.Errorf("the API server's Service, %v, is outside the Services' range", f.ServiceIP())
		}
		seen := map[netip.Addr]bool{f.FabricIP(): true}
		for i := 1; i <= maxNodes; i++ {
			if ip := f.NodeIP(i); seen[ip] || !f.Fabric.Contains(ip) {
				t.Errorf("node %d has %s", i, ip)
			}
			seen[f.NodeIP(i)] = true
			if p := f.PodCIDR(i); !f.Cluster.Overlaps(p) || p.Overlaps(f.PodCIDR(i%maxNodes+1)) {
				t.Errorf("pods of node %d have %s", i, p)
			}
		}
	}
}

// The primary family comes first, in everything that takes both.
func TestFamilies(t *testing.T) {
	pods := func(f Family) netip.Prefix { return f.PodCIDR(2) }
	if got, want := Addresses(&Spec{}, pods), "10.244.2.0/24"; got != want {
		t.Errorf("pods of node 2 have %s, want %s", got, want)
	}
	if got, want := Addresses(&Spec{IPv6First: true}, pods), "fd77:244:0:2::/64,10.244.2.0/24"; got != want {
		t.Errorf("with both families pods of node 2 have %s, want %s", got, want)
	}
	if got, want := Addresses(&Spec{IPv6First: true}, func(f Family) netip.Addr { return f.NodeIP(3) }), "fd77::d,10.77.0.13"; got != want {
		t.Errorf("node 3 has %s, want %s", got, want)
	}
}

func TestIndex(t *testing.T) {
	s := &Spec{Name: "a", Nodes: 2}
	for _, tt := range []struct {
		node string
		want int
	}{{"node1", 1}, {"node2", 2}, {"node3", 0}, {"", 0}, {"node01", 0}} {
		got, err := s.Index(tt.node)
		if got != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%q: got %d, %v; want %d", tt.node, got, err, tt.want)
		}
	}
	if got := filepath.Base(s.NodeDisk(2)); got != "node2" {
		t.Errorf("the disk of node 2 is called %s", got)
	}
}
