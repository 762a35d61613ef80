package sim

import (
	"fmt"
	"os"
	"testing"

	"github.com/detnet/detnet/controller/law"
)

func TestSketch(t *testing.T) {
	only := os.Getenv("WORLD")
	fmt.Printf("%-18s %6s %6s %8s %6s %6s %6s %6s %6s %5s %5s\n", "world", "viol%", "setl%", "goodput", "cut", "clean", "recov", "jain", "p/5s", "calm", "n")
	for _, s := range Worlds() {
		if only != "" && s.Name != only {
			continue
		}
		for seed := uint64(1); seed <= 5; seed++ {
			if v := os.Getenv("SEED"); v != "" && v != fmt.Sprint(seed) {
				continue
			}
			l, _ := law.New(law.Adaptive, law.DefaultConfig())
			r := Run(s, l, seed)
			c := r.Score()
			fmt.Printf("%-18s %6.2f %6.2f %8.1f %6.2f %6.2f %6.2f %6.3f %6.2f %5d %5d\n", s.Name, 100*c.Violation, 100*c.Settled, c.Goodput.Mbit(), c.FirstCut.Seconds(), c.Clean.Seconds(), c.Recovery.Seconds(), c.Jain, c.PatchRate, c.CalmWrites, c.Patches)
			if only != "" {
				for _, d := range r.Decisions {
					for _, x := range d.Plan.Reasons {
						fmt.Printf("  %7.3f %-8s %s %s %v n=%d U=%v %v→%v fb=%v %v\n", d.At.Seconds(), x.Bottleneck, x.Action, x.Cause, x.Measured, x.Samples, x.Usage, x.From, x.To, x.Feedback, d.Plan.Limits)
					}
				}
				break
			}
		}
	}
}
