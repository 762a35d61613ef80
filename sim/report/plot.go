package report

import (
	"cmp"
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
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

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

// plotScenario draws the laws side by side: the delay variation against the
// target above, limits, usage and decisions below.
func plotScenario(dir string, records []*sim.Record) error {
	top, bottom := make([]*plot.Plot, 0, len(records)), make([]*plot.Plot, 0, len(records))
	for _, r := range records {
		top = append(top, delayPanel(r))
		bottom = append(bottom, ratePanel(r))
	}
	name := "world-" + records[0].Scenario.Name
	return save(dir, name, [][]*plot.Plot{top, bottom})
}

// plotTrace draws a trace and the limits that each law made of it.
func plotTrace(dir string, t sim.Trace, runs []TraceRun) error {
	var top, bottom []*plot.Plot
	end, aim := time.Duration(len(t.Value))*t.Every, milliseconds(t.Defaults().Target)
	for _, run := range runs {
		jitter, limits := newPanel(t.Name+" · "+run.Law, "jitter, ms", end), newPanel("", "limit, Mbit/s", end)
		line(jitter, "target", orange, plotter.XYs{{X: 0, Y: aim}, {X: end.Seconds(), Y: aim}})
		for i, part := range measured(t) {
			name := "jitter"
			if i > 0 {
				name = "" // of the same line, after a gap
			}
			steps(jitter, name, blue, part)
		}
		var l plotter.XYs
		for _, p := range run.Points {
			l = append(l, plotter.XY{X: p.At.Seconds(), Y: p.Limit.Mbit()})
		}
		steps(limits, "limit", green, append(l, plotter.XY{X: end.Seconds(), Y: l[len(l)-1].Y}))
		headroom(jitter, 1.2)
		headroom(limits, 1.2)
		top, bottom = append(top, jitter), append(bottom, limits)
	}
	return save(dir, "trace-"+t.Name, [][]*plot.Plot{top, bottom})
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

// headroom lets the vertical axis begin at 0 and end above all that is drawn, so
// that the legend hides nothing.
func headroom(p *plot.Plot, factor float64) {
	p.Y.Min, p.Y.Max = 0, max(p.Y.Max, 0.001)*factor
}

func newPanel(title, y string, end time.Duration) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = title, y
	p.X.Label.Text = "time, s"
	p.X.Min, p.X.Max = 0, end.Seconds()
	p.X.Tick.Marker, p.Y.Tick.Marker = plain{}, plain{}
	// On the left the text follows its mark, however wide the viewer's font is.
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font.Size = 8
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

// delayPanel shows the median and the 95th percentile of every quarter second, of
// the app with the strictest target where there are several.
func delayPanel(r *sim.Record) *plot.Plot {
	app := slices.MinFunc(r.Scenario.Apps, func(a, b sim.AppSpec) int { return cmp.Compare(target(r.Scenario, a), target(r.Scenario, b)) })
	title := r.Scenario.Name + " · " + r.Law
	if len(r.Scenario.Apps) > 1 {
		title += " · " + app.Name
	}
	y := "delay variation, ms"
	if lost(r) {
		y += fmt.Sprintf(" (lost: %g)", mostDelay)
	}
	p := newPanel(title, y, r.Scenario.Length)
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	var median, tail plotter.XYs
	for _, s := range spansOf(r, app.Name) {
		x := s.at.Seconds()
		median = append(median, plotter.XY{X: x, Y: min(max(s.median, leastDelay), mostDelay)})
		tail = append(tail, plotter.XY{X: x, Y: min(max(s.tail, leastDelay), mostDelay)})
	}
	line(p, "95th percentile", pale, tail)
	line(p, "median", blue, median)
	y1 := target(r.Scenario, app)
	line(p, "target", orange, plotter.XYs{{X: 0, Y: y1}, {X: r.Scenario.Length.Seconds(), Y: y1}})
	p.Y.Min, p.Y.Max = leastDelay, mostDelay
	return p
}

func lost(r *sim.Record) bool {
	return slices.ContainsFunc(r.Probes, func(p sim.Probe) bool { return p.Lost })
}

// ratePanel shows capacity, the sum of the limits, usage and where cuts and
// raises were made. Limits far above capacity are off the scale.
func ratePanel(r *sim.Record) *plot.Plot {
	p := newPanel("", "Mbit/s", r.Scenario.Length)
	var room, limits, usage plotter.XYs
	var most bitrate.Rate
	for _, point := range r.Points {
		most = max(most, point.Room)
	}
	roof, name := most.Mbit()*1.6, "limits"
	for _, point := range r.Points {
		x := point.At.Seconds()
		var limit, used bitrate.Rate
		for i, spec := range r.Scenario.Senders {
			if !spec.Uncontrolled {
				limit, used = limit+point.Limits[i], used+point.Goodput[i]
			}
		}
		if limit.Mbit() > roof {
			name = fmt.Sprintf("limits, off the scale above %.0f", roof)
		}
		room = append(room, plotter.XY{X: x, Y: point.Room.Mbit()})
		limits = append(limits, plotter.XY{X: x, Y: min(limit.Mbit(), roof)})
		usage = append(usage, plotter.XY{X: x, Y: min(used.Mbit(), roof)})
	}
	line(p, "capacity", grey, room)
	line(p, "delivered", pale, usage)
	line(p, name, green, limits)
	cuts, raises := decisions(r)
	marks(p, "cut", orange, draw.CrossGlyph{}, cuts)
	marks(p, "raise", blue, draw.PlusGlyph{}, raises)
	p.Y.Min, p.Y.Max = 0, roof*1.7
	return p
}

func decisions(r *sim.Record) (cuts, raises plotter.XYs) {
	for _, d := range r.Decisions {
		if d.Writes == 0 {
			continue
		}
		for _, reason := range d.Plan.Reasons {
			at := plotter.XY{X: d.At.Seconds(), Y: 2}
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

func line(p *plot.Plot, name string, c color.Color, xys plotter.XYs) {
	draws(p, name, c, xys, plotter.NoStep)
}

// steps draws what stays as it is until the next value.
func steps(p *plot.Plot, name string, c color.Color, xys plotter.XYs) {
	draws(p, name, c, xys, plotter.PostStep)
}

func draws(p *plot.Plot, name string, c color.Color, xys plotter.XYs, kind plotter.StepKind) {
	l, err := plotter.NewLine(xys)
	if err != nil {
		return // nothing to draw
	}
	l.Color, l.Width, l.StepStyle = c, vg.Points(1.1), kind
	p.Add(l)
	if name != "" {
		p.Legend.Add(name, l)
	}
}

func marks(p *plot.Plot, name string, c color.Color, shape draw.GlyphDrawer, xys plotter.XYs) {
	s, err := plotter.NewScatter(xys)
	if err != nil || len(xys) == 0 {
		return
	}
	s.GlyphStyle = draw.GlyphStyle{Color: c, Radius: vg.Points(3), Shape: shape}
	p.Add(s)
	p.Legend.Add(name, s)
}

// save writes the panels as SVG and PNG.
func save(dir, name string, panels [][]*plot.Plot) error {
	columns := len(panels[0])
	w, h := vg.Length(columns)*panelWidth, vg.Length(len(panels))*panelHeight
	paint := func(c vg.CanvasSizer) {
		tiles := draw.Tiles{Rows: len(panels), Cols: columns, PadX: vg.Points(8), PadY: vg.Points(6), PadTop: vg.Points(4), PadBottom: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(8)}
		canvases := plot.Align(panels, tiles, draw.New(c))
		for i, row := range panels {
			for k, p := range row {
				p.Draw(canvases[i][k])
			}
		}
	}
	svg := vgsvg.New(w, h)
	paint(svg)
	if err := write(filepath.Join(dir, name+".svg"), svg.WriteTo); err != nil {
		return err
	}
	img := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))
	paint(img)
	return write(filepath.Join(dir, name+".png"), vgimg.PngCanvas{Canvas: img}.WriteTo)
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
