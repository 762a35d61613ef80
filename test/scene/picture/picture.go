// Package picture draws a run of the scene: delay variation above, goodput
// below, its phases side by side.
package picture

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/record"
)

// Colours that people with a colour vision deficiency can tell apart (Okabe-Ito).
var (
	blue      = color.RGBA{0, 114, 178, 255}
	orange    = color.RGBA{230, 159, 0, 255}
	green     = color.RGBA{0, 158, 115, 255}
	vermilion = color.RGBA{213, 94, 0, 255}
	grey      = color.RGBA{140, 140, 140, 255}
)

// Run is all that a picture shows. Phases are drawn in their order, under
// their names; a tick belongs to the phase that it names.
type Run struct {
	Capacity bitrate.Rate
	Phases   []scene.Phase
	Apps     []record.App
	Ticks    []scene.Tick
}

// axis puts the phases side by side: seconds on the picture's axis.
func (r Run) axis(phase int, since time.Duration) float64 {
	var before time.Duration
	for _, p := range r.Phases[:phase] {
		before += p.End.Sub(p.Start)
	}
	return (before + since).Seconds()
}

// Write writes the picture to path, as an SVG.
func (r Run) Write(path string) error {
	delay, err := r.delays()
	if err != nil {
		return fmt.Errorf("draw the delays: %w", err)
	}
	goodput, err := r.goodput()
	if err != nil {
		return fmt.Errorf("draw the goodput: %w", err)
	}
	canvas := vgsvg.New(22*vg.Centimeter, 14*vg.Centimeter)
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadX: vg.Points(6), PadY: vg.Points(10), PadTop: vg.Points(6), PadBottom: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(10)}
	rows := plot.Align([][]*plot.Plot{{delay}, {goodput}}, tiles, draw.New(canvas))
	delay.Draw(rows[0][0])
	goodput.Draw(rows[1][0])
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := canvas.WriteTo(file); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

const (
	leastDelay = 0.01 // ms; the axis is logarithmic
	mostDelay  = 200
)

func (r Run) delays() (*plot.Plot, error) {
	p := r.frame("delay variation, ms", mostDelay)
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = leastDelay, mostDelay
	for i, app := range r.Apps {
		dots, err := plotter.NewScatter(r.points(app))
		if err != nil {
			return nil, err
		}
		hue := []color.Color{vermilion, blue}[i%2]
		dots.GlyphStyle = draw.GlyphStyle{Color: hue, Radius: vg.Points(0.9), Shape: draw.CircleGlyph{}}
		ms := float64(app.Target) / float64(time.Millisecond)
		target, err := line(hue, true, plotter.XY{X: 0, Y: ms}, plotter.XY{X: r.axis(len(r.Phases), 0), Y: ms})
		if err != nil {
			return nil, err
		}
		p.Add(dots, target)
		p.Legend.Add(fmt.Sprintf("%s (target %.0f ms)", app.Name, ms), dots)
	}
	return p, nil
}

func (r Run) points(app record.App) plotter.XYs {
	base := app.Base()
	var points plotter.XYs
	for i, phase := range r.Phases {
		for _, packet := range app.Packets {
			if packet.At.Before(phase.Start) || !packet.At.Before(phase.End) {
				continue
			}
			ms := float64(packet.RTT-base) / float64(time.Millisecond)
			if packet.Lost {
				ms = mostDelay
			}
			points = append(points, plotter.XY{X: r.axis(i, packet.At.Sub(phase.Start)), Y: math.Min(math.Max(ms, leastDelay), mostDelay)})
		}
	}
	return points
}

func (r Run) goodput() (*plot.Plot, error) {
	top := 1.15 * r.Capacity.Mbit()
	p := r.frame("best effort, Mbit/s", top)
	p.X.Label.Text = "seconds of the phases, side by side"
	sums, each := plotter.XYs{}, make([]plotter.XYs, len(scene.Senders))
	for _, t := range r.Ticks {
		x := r.axis(r.phase(t.Phase), t.Elapsed)
		var sum bitrate.Rate
		for i, s := range t.Senders {
			sum += s.Goodput
			each[i] = append(each[i], plotter.XY{X: x, Y: s.Goodput.Mbit()})
		}
		sums = append(sums, plotter.XY{X: x, Y: sum.Mbit()})
	}
	for i, name := range scene.Senders {
		l, err := line([]color.Color{orange, blue}[i%2], false, each[i]...)
		if err != nil {
			return nil, err
		}
		p.Add(l)
		p.Legend.Add(name, l)
	}
	sum, err := line(green, false, sums...)
	if err != nil {
		return nil, err
	}
	c := r.Capacity.Mbit()
	capacity, err := line(grey, true, plotter.XY{X: 0, Y: c}, plotter.XY{X: r.axis(len(r.Phases), 0), Y: c})
	if err != nil {
		return nil, err
	}
	p.Add(sum, capacity)
	p.Legend.Add("both", sum)
	p.Legend.Add("uplink", capacity)
	p.Y.Min, p.Y.Max = 0, top
	p.Legend.Top = false
	return p, nil
}

func (r Run) phase(name string) int {
	for i, p := range r.Phases {
		if p.Name == name {
			return i
		}
	}
	return len(r.Phases)
}

// frame is an empty plot with the phases marked and named.
func (r Run) frame(label string, top float64) *plot.Plot {
	p := plot.New()
	p.Y.Label.Text = label
	p.X.Min, p.X.Max = 0, r.axis(len(r.Phases), 0)
	// At the right, marks first: how wide a text comes out is up to the viewer.
	p.Legend.Top, p.Legend.Left, p.Legend.Padding, p.Legend.XOffs = true, true, vg.Points(3), vg.Points(405)
	for _, style := range []*font.Font{&p.Legend.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font} {
		style.Size = vg.Points(9)
	}
	names := plotter.XYLabels{}
	for i, phase := range r.Phases {
		names.XYs = append(names.XYs, plotter.XY{X: r.axis(i, 300*time.Millisecond), Y: top})
		names.Labels = append(names.Labels, phase.Name)
		if edge, err := line(grey, false, plotter.XY{X: r.axis(i, 0), Y: leastDelay}, plotter.XY{X: r.axis(i, 0), Y: top}); err == nil && i > 0 {
			p.Add(edge)
		}
	}
	if labels, err := plotter.NewLabels(names); err == nil {
		labels.Offset = vg.Point{Y: vg.Points(3)}
		for j := range labels.TextStyle {
			labels.TextStyle[j].Font.Size = vg.Points(9)
		}
		p.Add(labels)
	}
	return p
}

func line(c color.Color, dashed bool, points ...plotter.XY) (*plotter.Line, error) {
	l, err := plotter.NewLine(plotter.XYs(points))
	if err != nil {
		return nil, err
	}
	l.LineStyle = draw.LineStyle{Color: c, Width: vg.Points(1.2)}
	if dashed {
		l.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
	}
	return l, nil
}
