package bench

import (
	"fmt"
	"math"
	"os"
	"testing"
)

// figures are what the benchmarks found, with the bars that are set for them.
// Benchmarks run one after the other.
var figures []figure

type figure struct {
	name, unit string
	value, bar float64
}

// within reports a figure whose magnitude must not exceed bar.
func within(b *testing.B, value, bar float64, unit string) {
	b.ReportMetric(value, unit)
	figures = append(figures, figure{b.Name(), unit, value, bar})
}

// TestMain shows the figures that have a bar once more, together.
func TestMain(m *testing.M) {
	code := m.Run()
	if len(figures) > 0 {
		fmt.Printf("\n%-48s %12s %8s\n", "figure", "measured", "bar")
	}
	for _, f := range figures {
		verdict := ""
		if math.Abs(f.value) > f.bar {
			verdict = "  missed"
		}
		fmt.Printf("%-48s %12.2f %8g %s%s\n", f.name, f.value, f.bar, f.unit, verdict)
	}
	os.Exit(code)
}
