package placement

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func nodes(n, zones int) []Vantage {
	vs := make([]Vantage, n)
	for i := range vs {
		vs[i].Node = fmt.Sprintf("node-%d", i)
		if zones > 0 {
			vs[i].Zone = fmt.Sprintf("zone-%d", i%zones)
		}
	}
	return vs
}

func TestChoose(t *testing.T) {
	three := nodes(3, 0)
	for _, tt := range []struct {
		name     string
		target   Target
		vantages []Vantage
		k        int
		want     []string // in any order
	}{
		{"the others", Target{Key: "a", Node: "node-1"}, three, 2, []string{"node-0", "node-2"}},
		{"more asked than there are", Target{Key: "a", Node: "node-1"}, three, 5, []string{"node-0", "node-2"}},
		{"own node when alone", Target{Key: "a", Node: "node-0"}, nodes(1, 0), 2, []string{"node-0"}},
		{"nobody", Target{Key: "a", Node: "node-0"}, nil, 2, nil},
		{"nobody to ask for", Target{Key: "a", Node: "node-0"}, three, 0, nil},
		{"outside the cluster", Target{Key: "a"}, three, 3, []string{"node-0", "node-1", "node-2"}},
		{"pinned, own node too", Target{Key: "a", Node: "node-1", Pinned: []string{"node-1", "gone", "node-1"}}, three, 2, []string{"node-1"}},
	} {
		got := Choose(tt.target, tt.vantages, tt.k)
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestChooseSpreadsOverZones(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.IntRange(2, 5).Draw(t, "zones")
		vs := nodes(rapid.IntRange(zones+1, 40).Draw(t, "nodes"), zones)
		target := Target{Key: rapid.String().Draw(t, "key")}
		k := rapid.IntRange(1, zones).Draw(t, "k")
		seen := map[string]bool{}
		for _, node := range Choose(target, vs, k) {
			v := vs[slices.IndexFunc(vs, func(v Vantage) bool { return v.Node == node })]
			if seen[v.Zone] {
				t.Fatalf("zone %s twice although %d zones are there for %d sessions", v.Zone, zones, k)
			}
			seen[v.Zone] = true
		}
	})
}

// A node that leaves moves at most one session, and only one of its own.
func TestChooseIsStableUnderChurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := nodes(rapid.IntRange(2, 30).Draw(t, "nodes"), rapid.IntRange(0, 4).Draw(t, "zones"))
		target := Target{Key: rapid.String().Draw(t, "key"), Node: "node-0"}
		k := rapid.IntRange(1, 4).Draw(t, "k")
		gone := rapid.IntRange(0, len(vs)-1).Draw(t, "gone")
		before := Choose(target, vs, k)
		after := Choose(target, slices.Delete(slices.Clone(vs), gone, gone+1), k)
		for _, node := range before {
			if node != vs[gone].Node && !slices.Contains(after, node) {
				t.Fatalf("%s left: %v became %v", vs[gone].Node, before, after)
			}
		}
		slices.Reverse(vs)
		if again := Choose(target, vs, k); !slices.Equal(again, before) {
			t.Fatalf("order of nodes matters: %v, %v", before, again)
		}
	})
}

func TestChooseSharesTheWork(t *testing.T) {
	const targets, k = 1000, 2
	vs := nodes(10, 0)
	load := map[string]int{}
	for i := range targets {
		for _, node := range Choose(Target{Key: fmt.Sprintf("pod-%d", i)}, vs, k) {
			load[node]++
		}
	}
	for node, n := range load {
		if mean := targets * k / len(vs); n < mean*3/4 || n > mean*5/4 {
			t.Errorf("%s has %d sessions, mean is %d", node, n, mean)
		}
	}
}

// BenchmarkChoose is one app's vantage points, of all nodes.
func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			vs := nodes(n, 3)
			b.ReportAllocs()
			for b.Loop() {
				Choose(Target{Key: "factory/robot-0", Node: "node-7"}, vs, 2)
			}
		})
	}
}
