package worlds

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim"
)

// TestDigest writes what the law decided in every world, a file a world and
// seed, to the folder that DETNET_DIGEST names: run it before a change and
// after, and diff the two folders. DETNET_SEEDS is how many seeds (1), and
// DETNET_WORLDS, comma-separated, which worlds (all), and DETNET_LIMITER=edt has
// Cilium's limiter in them.
func TestDigest(t *testing.T) {
	dir := os.Getenv("DETNET_DIGEST")
	if dir == "" {
		t.Skip("DETNET_DIGEST names no folder")
	}
	seeds, _ := strconv.Atoi(os.Getenv("DETNET_SEEDS"))
	only := os.Getenv("DETNET_WORLDS")
	for _, world := range All() {
		if only != "" && !strings.Contains(","+only+",", ","+world.Name+",") {
			continue
		}
		world.Limiter = plan.Limiter(os.Getenv("DETNET_LIMITER"))
		for seed := range uint64(max(seeds, 1)) {
			name := filepath.Join(dir, fmt.Sprintf("%s-%d", world.Name, seed+1))
			record := sim.Run(world, lawNamed(t, law.Adaptive), seed+1)
			if err := writeDigest(name, record); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func writeDigest(name string, r *sim.Record) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	score := r.Score()
	fmt.Fprintf(w, "%+v\n", score)
	for _, d := range r.Decisions {
		digest(w, d)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// digest writes one line for each bottleneck and limit.
func digest(w *bufio.Writer, d sim.Decision) {
	for _, r := range d.Plan.Reasons {
		fmt.Fprintf(w, "%v %v %s %s %v → %v\n", d.At, r.Bottleneck, r.Action, r.Cause, r.From, r.To)
	}
	for _, l := range d.Plan.Limits {
		fmt.Fprintf(w, "%v   %s %v → %v\n", d.At, l.Pod, l.From, l.To)
	}
}
