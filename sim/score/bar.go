package score

import (
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Bar is what a law is to reach in a world. What is left at zero is not asked for.
type Bar struct {
	Violation float64       `json:"violation_ratio,omitempty"` // at most
	Goodput   bitrate.Rate  `json:"goodput_bps,omitempty"`     // at least
	Worst     bitrate.Rate  `json:"worst_goodput_bps,omitempty"`
	Clean     time.Duration `json:"clean_ns,omitempty"`    // at most
	Recovery  time.Duration `json:"recovery_ns,omitempty"` // at most
	Taken     float64       `json:"taken,omitempty"`       // of what would be delivered without limits, at most
	// Missed says what is reached instead, where it is not.
	Missed string `json:"missed,omitempty"`
}

// Asks reports whether there is anything to reach.
func (b Bar) Asks() bool { return b != (Bar{Missed: b.Missed}) }

// Misses says what of a bar is not reached. Worst is the least goodput of all seeds,
// taken the share of what would be delivered without limits.
func (b Bar) Misses(f Figures, worst bitrate.Rate, taken float64) []string {
	var missed []string
	miss := func(is bool, format string, args ...any) {
		if is {
			missed = append(missed, fmt.Sprintf(format, args...))
		}
	}
	miss(b.Violation > 0 && f.Violation > b.Violation, "%.2f %% in violation, at most %.2f %%", 100*f.Violation, 100*b.Violation)
	miss(f.Goodput < b.Goodput, "%.0fM delivered, at least %.0fM", f.Goodput.Mbit(), b.Goodput.Mbit())
	miss(worst < b.Worst, "%.0fM delivered in the worst seed, at least %.0fM", worst.Mbit(), b.Worst.Mbit())
	miss(b.Clean > 0 && !within(f.Clean, b.Clean), "clean after %s, at most %v", after(f.Clean), b.Clean)
	miss(b.Recovery > 0 && !within(f.Recovery, b.Recovery), "recovered after %s, at most %v", after(f.Recovery), b.Recovery)
	miss(b.Taken > 0 && taken > b.Taken, "%.1f %% taken, at most %.1f %%", 100*taken, 100*b.Taken)
	return missed
}

func within(d, most time.Duration) bool { return d >= 0 && d <= most }

func after(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return d.Round(10 * time.Millisecond).String()
}
