package sim

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
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
func plotScenario(dir string, records []*Record) error {
	top, bottom := make([]*plot.Plot, 0, len(records)), make([]*plot.Plot, 0, len(records))
	for _, r := range records {
		top = append(top, delayPanel(r))
		bottom = append(bottom, ratePanel(r))
	}
	name := "world-" + records[0].Scenario.Name
	return save(dir, name, [][]*plot.Plot{top, bottom})
}

// plotTrace draws a trace and the limits that each law made of it.
func plotTrace(dir string, t Trace, runs []TraceRun) error {
	var top, bottom []*plot.Plot
	for _, run := range runs {
		jitter, limits := newPanel(t.Name+" · "+run.Law, "jitter, ms"), newPanel("", "limit, Mbit/s")
		var j, l plotter.XYs
		for _, p := range run.Points {
			j = append(j, plotter.XY{X: p.At.Seconds(), Y: max(milliseconds(p.Jitter), 0)})
			l = append(l, plotter.XY{X: p.At.Seconds(), Y: p.Limit.Mbit()})
		}
		line(jitter, "jitter", blue, j)
		line(jitter, "target", orange, plotter.XYs{{X: 0, Y: 1}, {X: j[len(j)-1].X, Y: 1}})
		line(limits, "limit", green, l)
		jitter.Y.Min, limits.Y.Min = 0, 0
		top, bottom = append(top, jitter), append(bottom, limits)
	}
	return save(dir, "trace-"+t.Name, [][]*plot.Plot{top, bottom})
}

func newPanel(title, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = title, y
	p.X.Label.Text = "s"
	p.Legend.Top = true
	p.Legend.TextStyle.Font.Size = 8
	p.Title.TextStyle.Font.Size = 11
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{230}, color.Gray{240}
	p.Add(grid)
	return p
}

// delayPanel shows the median and the 95th percentile of every quarter second.
func delayPanel(r *Record) *plot.Plot {
	const bin, least, most = 250 * time.Millisecond, 0.02, 200.0
	p := newPanel(r.Scenario.Name+" · "+r.Law, "delay variation, ms")
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	bins := make([][]float64, int(r.Scenario.Length/bin)+1)
	for _, probe := range r.Probes {
		v := milliseconds(probe.Delay)
		if probe.Lost {
			v = most
		}
		bins[probe.At/bin] = append(bins[probe.At/bin], min(max(v, least), most))
	}
	var median, tail plotter.XYs
	for i, values := range bins {
		if len(values) == 0 {
			continue
		}
		slices.Sort(values)
		x := (time.Duration(i) * bin).Seconds()
		median = append(median, plotter.XY{X: x, Y: values[len(values)/2]})
		tail = append(tail, plotter.XY{X: x, Y: values[(len(values)*95-1)/100]})
	}
	line(p, "95th percentile", pale, tail)
	line(p, "median", blue, median)
	for _, a := range r.Scenario.Apps[:1] {
		y := milliseconds(a.SLO.Jitter)
		if y == 0 {
			y = milliseconds(a.SLO.Latency - 2*r.Scenario.Propagation)
		}
		line(p, "target", orange, plotter.XYs{{X: 0, Y: y}, {X: r.Scenario.Length.Seconds(), Y: y}})
	}
	p.Y.Min, p.Y.Max = least, most
	return p
}

// ratePanel shows capacity, the sum of the limits, usage and where cuts and
// raises were made.
func ratePanel(r *Record) *plot.Plot {
	p := newPanel("", "Mbit/s")
	var room, limits, usage plotter.XYs
	var most bitrate.Rate
	for _, point := range r.Points {
		most = max(most, point.Room)
	}
	roof := most.Mbit() * 1.6
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
	line(p, "capacity", grey, room)
	line(p, "delivered", pale, usage)
	line(p, "limits", green, limits)
	cuts, raises := decisions(r)
	marks(p, "cut", orange, draw.CrossGlyph{}, cuts)
	marks(p, "raise", blue, draw.PlusGlyph{}, raises)
	p.Y.Min, p.Y.Max = 0, roof*1.05
	return p
}

func decisions(r *Record) (cuts, raises plotter.XYs) {
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
	l, err := plotter.NewLine(xys)
	if err != nil {
		return // nothing to draw
	}
	l.Color, l.Width = c, vg.Points(1.1)
	p.Add(l)
	p.Legend.Add(name, l)
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
