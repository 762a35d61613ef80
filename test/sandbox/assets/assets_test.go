package assets

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// A new version is built anew, and nothing else is.
func TestKeyChangesWithTheRecipe(t *testing.T) {
	base := part{name: "p", module: "example.com/p", version: "v1.0.0", tags: "a", ldflags: "-s"}
	same := base
	same.commands = commands("/cmd", "more")
	if base.key() != same.key() {
		t.Error("a further command changes the key")
	}
	for name, change := range map[string]func(*part){
		"version": func(p *part) { p.version = "v1.0.1" },
		"module":  func(p *part) { p.module = "example.com/q" },
		"tags":    func(p *part) { p.tags = "a,b" },
		"ldflags": func(p *part) { p.ldflags = "-s -w" },
		"source":  func(p *part) { p.source = "package main" },
		"instead": func(p *part) { p.instead = map[string]string{"example.com/b": "v1.1.0"} },
	} {
		changed := base
		change(&changed)
		if changed.key() == base.key() {
			t.Errorf("the key stays with another %s", name)
		}
	}
}

func TestKeysAreDistinctAndNameTheVersion(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range parts() {
		if seen[p.key()] || !strings.HasPrefix(p.key(), p.name+"-"+p.version+"-") {
			t.Errorf("the key of %s is %s", p.name, p.key())
		}
		seen[p.key()] = true
	}
}

func TestCommands(t *testing.T) {
	got := commands("/plugins", "main/ptp", "ipam/host-local")
	want := []command{{name: "ptp", path: "/plugins/main/ptp"}, {name: "host-local", path: "/plugins/ipam/host-local"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestKubernetesFlags(t *testing.T) {
	got := kubernetesFlags("v1.36.3")
	for _, want := range []string{"gitVersion=v1.36.3", "gitMajor=1", "gitMinor=36"} {
		if !slices.ContainsFunc(strings.Fields(got), func(f string) bool { return strings.HasSuffix(f, "."+want) }) {
			t.Errorf("%q lacks %s", got, want)
		}
	}
}

func TestStagedSiblings(t *testing.T) {
	f, err := modfile.Parse("go.mod", []byte(`module k8s.io/kubernetes
require (
	k8s.io/api v0.0.0
	k8s.io/utils v0.0.0-20260101000000-abcdefabcdef
	golang.org/x/sys v0.1.0
	k8s.io/client-go v0.0.0
)
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := stagedSiblings(f), []string{"k8s.io/api", "k8s.io/client-go"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := stagedVersion("v1.36.3"); got != "v0.36.3" {
		t.Errorf("the libraries of v1.36.3 are %s", got)
	}
}

func TestReplace(t *testing.T) {
	theirs, err := modfile.Parse("go.mod", []byte(`module example.com/p
require k8s.io/api v0.0.0
replace example.com/a => example.com/fork/a v1.2.3
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		part part
		want string
	}{
		{part{version: "v1.36.3"}, "module build\n"},
		{part{version: "v1.36.3", staged: true}, "module build\n\nreplace k8s.io/api => k8s.io/api v0.36.3\n"},
		{part{version: "v1.36.3", forked: true}, "module build\n\nreplace example.com/a => example.com/fork/a v1.2.3\n"},
		{part{instead: map[string]string{"example.com/b": "v1.1.0"}}, "module build\n\nreplace example.com/b => example.com/b v1.1.0\n"},
	} {
		f := new(modfile.File)
		if err := errors.Join(f.AddModuleStmt("build"), replace(tt.part, f, theirs)); err != nil {
			t.Fatal(err)
		}
		got, err := f.Format()
		if err != nil || string(got) != tt.want {
			t.Errorf("%+v: %q, %v; want %q", tt.part, got, err, tt.want)
		}
	}
}

// Cilium is built when it is asked for, and only then.
func TestCiliumIsAskedForByName(t *testing.T) {
	c := Cache(t.TempDir())
	for _, which := range []Which{All, APIServer} {
		for _, m := range c.missing(which) {
			if m.part.name == "cilium" {
				t.Errorf("%s is among what %d needs", m.command.name, which)
			}
		}
	}
	for _, which := range []Which{Cilium119, Cilium120} {
		if got := len(c.missing(which)); got != 5 {
			t.Errorf("%d commands for Cilium %s", got, ciliumVersions[which])
		}
		for _, m := range c.missing(which) {
			place(t, c, m)
		}
	}
	for _, which := range []Which{Cilium119, Cilium120} {
		if got := len(c.missing(which)); got != 0 {
			t.Errorf("beside the other release, %d commands of Cilium %s are missing", got, ciliumVersions[which])
		}
	}
}

func TestCiliumRelease(t *testing.T) {
	for minor, want := range map[string]Which{"1.19": Cilium119, "1.20": Cilium120} {
		if got, err := CiliumRelease(minor); got != want || err != nil {
			t.Errorf("%s is %d, %v; want %d", minor, got, err, want)
		}
	}
	for _, bad := range []string{"", "1", "1.2", "1.18", "v1.20", "1.20.2"} {
		if got, err := CiliumRelease(bad); err == nil {
			t.Errorf("%q is %d", bad, got)
		}
	}
}

func TestScratchModule(t *testing.T) {
	got, _, err := scratchModule(t.Context(), part{module: "example.com/p/v2", version: "v2.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	want := "module build\n\ngo 1.26.0\n\nrequire example.com/p/v2 v2.1.0\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMissingPackages(t *testing.T) {
	got := missingPackages(distroPrograms[All], func(program string) bool { return program == "runc" })
	if want := []string{"iproute2", "mount", "nftables"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := missingPackages(distroPrograms[All], func(string) bool { return true }); len(got) > 0 {
		t.Errorf("nothing is missing, and yet %v", got)
	}
}

// What is in the cache is not built again, and what an interrupted run or an
// older version left does not count as there.
func TestMissing(t *testing.T) {
	c := Cache(t.TempDir())
	all := len(c.missing(All))
	if api := len(c.missing(APIServer)); api != len(apiServerOnly) || all <= api {
		t.Fatalf("an empty cache lacks %d, %d of them for the API server", all, api)
	}
	for _, m := range c.missing(APIServer) {
		place(t, c, m)
	}
	if err := c.Ensure(t.Context(), slog.New(slog.DiscardHandler), APIServer); err != nil {
		t.Errorf("with all in place: %v", err)
	}
	if got := len(c.missing(All)); got != all-len(apiServerOnly) {
		t.Errorf("%d are missing, want %d", got, all-len(apiServerOnly))
	}

	link := filepath.Join(c.Bin(), "etcd")
	target, err := os.Readlink(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(target); err != nil {
		t.Fatal(err)
	}
	if got := c.missing(APIServer); len(got) != 1 || got[0].command.name != "etcd" {
		t.Errorf("after etcd's binary is gone %v are missing", got)
	}
	old := part{name: "etcd", module: "go.etcd.io/etcd/server/v3", version: "v3.0.0", folder: "bin"}
	place(t, c, missing{old, command{name: "etcd"}})
	if got := c.missing(APIServer); len(got) != 1 || got[0].command.name != "etcd" {
		t.Errorf("with an older etcd %v are missing", got)
	}
}

func place(t *testing.T, c Cache, m missing) {
	t.Helper()
	path := c.binary(m.part, m.command)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.link(m.part, m.command); err != nil {
		t.Fatal(err)
	}
}

func TestLockWaitsForItsContext(t *testing.T) {
	c := Cache(t.TempDir())
	log := slog.New(slog.DiscardHandler)
	unlock, err := c.lock(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.lock(ctx, log); err == nil {
		t.Error("a locked cache was locked again")
	}
	unlock()
	unlock, err = c.lock(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
