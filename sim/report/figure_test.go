package report

import (
	"testing"

	"gonum.org/v1/plot/plotter"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/score"
)

// All laws of a scenario have one axis, whatever one of them lets through, and every
// app is drawn.
func TestPanelsShareTheirAxes(t *testing.T) {
	world := worldNamed(t, "several-apps")
	record := func(limit bitrate.Rate) *sim.Record {
		rates := []bitrate.Rate{limit, limit}
		return &sim.Record{Scenario: world, Law: "a", Points: []sim.Point{{Point: score.Point{Room: 200 * bitrate.Mbit, Limits: rates, Goodput: rates}}}}
	}
	low, high := record(10*bitrate.Mbit), record(bitrate.Gbit)
	roof := roofOf([]*sim.Record{low, high})
	var f figure
	a, b := f.ratePanel(low, roof), f.ratePanel(high, roof)
	if a.Y.Max != b.Y.Max || a.Y.Min != b.Y.Min || a.Y.Min >= 0 {
		t.Errorf("axes from %v to %v and from %v to %v", a.Y.Min, a.Y.Max, b.Y.Min, b.Y.Max)
	}
	for _, app := range world.Apps {
		if p := f.delayPanel(low, app); p.Title.Text != "several-apps · a · "+app.Name {
			t.Errorf("panel of %s: %q", app.Name, p.Title.Text)
		}
	}
	if err := plotScenario(t.TempDir(), []*sim.Record{low, high, low, high, low}); err != nil {
		t.Error(err)
	}
}

// A long trace is drawn with what sticks out of it.
func TestThinnedKeepsThePeaks(t *testing.T) {
	long := make(plotter.XYs, 200_000)
	for i := range long {
		long[i].X = float64(i)
	}
	long[123_456].Y, long[7].Y = 9, -3
	few := thinned(long)
	least, most := 0.0, 0.0
	for _, p := range few {
		least, most = min(least, p.Y), max(most, p.Y)
	}
	if len(few) > 4000 || least != -3 || most != 9 || few[len(few)-1].X != 199_999 {
		t.Errorf("%d points from %v to %v", len(few), least, most)
	}
}
