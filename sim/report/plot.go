package report

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim"
)

// Colours that stay apart in print and for most colour-blind readers
// (Okabe and Ito).
var (
	blue   = color.RGBA{0, 114, 178, 255}
	orange = color.RGBA{213, 94, 0, 255}
	green  = color.RGBA{0, 158, 115, 255}
	grey   = color.RGBA{150, 150, 150, 255}
	pale   = color.RGBA{150, 205, 240, 255}
)

const (
	panelWidth  = 4.2 * vg.Inch
	panelHeight = 2.4 * vg.Inch
	dpi         = 110
)

// abreast is how many laws are drawn side by side.
const abreast = 4

// plotScenario draws the laws side by side: the delay variation of every app against its
// target, and below limits, usage and decisions. All have the same axes.
func plotScenario(dir string, records []*sim.Record) error {
	f := &figure{}
	roof := roofOf(records)
	for first := 0; first < len(records); first += abreast {
		part := records[first:min(first+abreast, len(records))]
		for _, app := range records[0].Scenario.Apps {
			var row []*plot.Plot
			for _, r := range part {
				row = append(row, f.delayPanel(r, app))
			}
			f.rows = append(f.rows, row)
		}
		var row []*plot.Plot
		for _, r := range part {
			row = append(row, f.ratePanel(r, roof))
		}
		f.rows = append(f.rows, row)
	}
	return f.save(dir, "world-"+records[0].Scenario.Name)
}

// plotTrace draws a trace and the limits that each law made of it.
func plotTrace(dir string, t sim.Trace, runs []TraceRun) error {
	f := &figure{}
	var top, bottom []*plot.Plot
	end, aim := time.Duration(len(t.Value))*t.Every, milliseconds(t.Defaults().Target)
	var most float64
	for _, run := range runs {
		jitter, limits := newPanel(t.Name+" · "+run.Law, "jitter, ms", end), newPanel("", "limit, Mbit/s", end)
		f.line(jitter, "target", orange, plotter.XYs{{X: 0, Y: aim}, {X: end.Seconds(), Y: aim}})
		for _, part := range measured(t) {
			f.steps(jitter, "jitter", blue, part)
		}
		var l plotter.XYs
		for _, p := range run.Points {
			l = append(l, plotter.XY{X: p.At.Seconds(), Y: p.Limit.Mbit()})
			most = max(most, p.Limit.Mbit())
		}
		f.steps(limits, "limit", green, append(l, plotter.XY{X: end.Seconds(), Y: l[len(l)-1].Y}))
		headroom(jitter, jitter.Y.Max)
		top, bottom = append(top, jitter), append(bottom, limits)
	}
	for _, p := range bottom {
		headroom(p, most)
	}
	f.rows = [][]*plot.Plot{top, bottom}
	return f.save(dir, "trace-"+t.Name)
}

// measured is the values of a trace, without the times at which there was none.
func measured(t sim.Trace) []plotter.XYs {
	var parts []plotter.XYs
	open := false
	for i, value := range t.Value {
		if value < 0 {
			open = false
			continue
		}
		if !open {
			parts, open = append(parts, nil), true
		}
		at, last := time.Duration(i)*t.Every, &parts[len(parts)-1]
		*last = append(*last, plotter.XY{X: at.Seconds(), Y: milliseconds(value)}, plotter.XY{X: (at + t.Every).Seconds(), Y: milliseconds(value)})
	}
	return parts
}

// headroom lets the vertical axis begin at 0 and end just above the most that is drawn.
func headroom(p *plot.Plot, most float64) {
	p.Y.Min, p.Y.Max = 0, max(most, 0.001)*1.05
}

func newPanel(title, y string, end time.Duration) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = title, y
	p.X.Label.Text = "time, s"
	p.X.Min, p.X.Max = 0, end.Seconds()
	p.X.Tick.Marker, p.Y.Tick.Marker = plain{}, plain{}
	p.Title.TextStyle.Font.Size = 11
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{230}, color.Gray{240}
	p.Add(grid)
	return p
}

// plain labels ticks with as many digits as they need.
type plain struct{}

func (plain) Ticks(lo, hi float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(lo, hi)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = strconv.FormatFloat(ticks[i].Value, 'g', 4, 64)
		}
	}
	return ticks
}

// decades are the ticks of a logarithmic axis, without those beyond its ends.
type decades struct{}

func (decades) Ticks(lo, hi float64) []plot.Tick {
	return slices.DeleteFunc(plot.LogTicks{Prec: -1}.Ticks(lo, hi), func(t plot.Tick) bool { return t.Value < lo || t.Value > hi })
}

// delayPanel shows the median and the 95th percentile of every quarter second of an app.
func (f *figure) delayPanel(r *sim.Record, app sim.AppSpec) *plot.Plot {
	title := r.Scenario.Name + " · " + r.Law
	if len(r.Scenario.Apps) > 1 {
		title += " · " + app.Name
	}
	y := "delay variation, ms"
	if lost(r) {
		y += fmt.Sprintf(" (lost: %g)", mostDelay)
	}
	p := newPanel(title, y, r.Scenario.Length)
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
	var median, tail plotter.XYs
	for _, s := range spansOf(r, app.Name) {
		x := s.at.Seconds()
		median = append(median, plotter.XY{X: x, Y: min(max(s.median, leastDelay), mostDelay)})
		tail = append(tail, plotter.XY{X: x, Y: min(max(s.tail, leastDelay), mostDelay)})
	}
	f.line(p, "95th percentile", pale, tail)
	f.line(p, "median", blue, median)
	y1 := target(r.Scenario, app)
	f.line(p, "target", orange, plotter.XYs{{X: 0, Y: y1}, {X: r.Scenario.Length.Seconds(), Y: y1}})
	p.Y.Min, p.Y.Max = leastDelay, mostDelay
	return p
}

func lost(r *sim.Record) bool {
	return slices.ContainsFunc(r.Probes, func(p sim.Probe) bool { return p.Lost })
}

// roofOf is what the rates of all laws of a scenario are drawn up to: above it there
// are only limits that nobody can use.
func roofOf(records []*sim.Record) float64 {
	var most bitrate.Rate
	for _, r := range records {
		for _, point := range r.Points {
			most = max(most, point.Room)
		}
	}
	return most.Mbit() * 1.6
}

// ratePanel shows capacity, the sum of the limits, usage and, below them, when cuts and
// raises were made. Limits far above capacity are off the scale.
func (f *figure) ratePanel(r *sim.Record, roof float64) *plot.Plot {
	p := newPanel("", "Mbit/s", r.Scenario.Length)
	var room, limits, usage plotter.XYs
	for _, point := range r.Points {
		x := point.At.Seconds()
		var limit, used bitrate.Rate
		for i, spec := range r.Scenario.Senders {
			if !spec.Uncontrolled {
				limit, used = limit+point.Limits[i], used+point.Goodput[i]
			}
		}
		room = append(room, plotter.XY{X: x, Y: point.Room.Mbit()})
		limits = append(limits, plotter.XY{X: x, Y: min(limit.Mbit(), roof)})
		usage = append(usage, plotter.XY{X: x, Y: min(used.Mbit(), roof)})
	}
	f.line(p, "capacity", grey, room)
	f.line(p, "delivered", pale, usage)
	f.line(p, fmt.Sprintf("limits (off the scale above %.0f)", roof), green, limits)
	cuts, raises := decisions(r, -roof/20)
	f.marks(p, "cut", orange, draw.CrossGlyph{}, cuts)
	f.marks(p, "raise", blue, draw.PlusGlyph{}, raises)
	p.Y.Min, p.Y.Max = -roof/10, roof*1.02
	return p
}

// decisions are drawn at a height of their own.
func decisions(r *sim.Record, y float64) (cuts, raises plotter.XYs) {
	for _, d := range r.Decisions {
		if d.Writes == 0 {
			continue
		}
		for _, reason := range d.Plan.Reasons {
			at := plotter.XY{X: d.At.Seconds(), Y: y}
			switch reason.Action {
			case plan.Cut:
				cuts = append(cuts, at)
			case plan.Grow, plan.Restore:
				raises = append(raises, at)
			}
		}
	}
	return cuts, raises
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// finite keeps numbers that JSON cannot write out of files.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func create(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make folder for %s: %w", path, err)
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	return f, nil
}
