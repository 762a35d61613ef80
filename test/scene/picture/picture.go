// Package picture draws a run of the scene: delay variation above, goodput,
// limits and capacity below, its phases side by side.
package picture

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
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
	purple    = color.RGBA{204, 121, 167, 255}
	black     = color.RGBA{0, 0, 0, 255}
	grey      = color.RGBA{140, 140, 140, 255}
)

// Run is all that a picture shows. Phases are drawn in their order, under
// their names.
type Run struct {
	Capacity bitrate.Rate // when a phase begins
	Phases   []scene.Phase
	Apps     []record.App
	Shifts   []Shift // of capacity, in order
}

// Shift is a change of the uplink's capacity.
type Shift struct {
	At time.Time
	To bitrate.Rate
}

// axis puts the phases side by side: seconds on the picture's axis.
func (r Run) axis(phase int, since time.Duration) float64 {
	var before time.Duration
	for _, p := range r.Phases[:phase] {
		before += p.End.Sub(p.Start)
	}
	return (before + since).Seconds()
}

const (
	width       = 30 * vg.Centimeter
	height      = 15 * vg.Centimeter
	legendWidth = 5 * vg.Centimeter // how wide a text comes out is up to the viewer
	fontSize    = 9
)

// Write writes the picture to path, as an SVG.
func (r Run) Write(path string) error {
	delay, names, err := r.delays()
	if err != nil {
		return fmt.Errorf("draw the delays: %w", err)
	}
	rates, lines, err := r.rates()
	if err != nil {
		return fmt.Errorf("draw the rates: %w", err)
	}
	canvas := vgsvg.New(width, height)
	whole := draw.New(canvas)
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadX: vg.Points(6), PadY: vg.Points(10), PadTop: vg.Points(6), PadBottom: vg.Points(4), PadLeft: vg.Points(4)}
	rows := plot.Align([][]*plot.Plot{{delay}, {rates}}, tiles, draw.Crop(whole, 0, -legendWidth, 0, 0))
	margin := draw.Crop(whole, width-legendWidth+vg.Points(8), 0, 0, 0)
	for i, panel := range []*plot.Plot{delay, rates} {
		panel.Draw(rows[i][0])
		legend := []*plot.Legend{names, lines}[i]
		beside := margin
		beside.Min.Y, beside.Max.Y = rows[i][0].Min.Y, rows[i][0].Max.Y-vg.Points(14)
		legend.Draw(beside)
	}
	return Save(canvas, path)
}

// Save writes a canvas to path.
func Save(canvas *vgsvg.Canvas, path string) error {
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

func (r Run) delays() (*plot.Plot, *plot.Legend, error) {
	p, legend := r.frame("delay variation, ms", mostDelay), newLegend()
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = leastDelay, mostDelay
	for i, app := range r.Apps {
		dots, err := plotter.NewScatter(r.points(app))
		if err != nil {
			return nil, nil, err
		}
		hue := []color.Color{vermilion, blue}[i%2]
		dots.GlyphStyle = draw.GlyphStyle{Color: hue, Radius: vg.Points(0.9), Shape: draw.CircleGlyph{}}
		ms := float64(app.Target) / float64(time.Millisecond)
		target, err := line(hue, true, plotter.XY{X: 0, Y: ms}, plotter.XY{X: r.axis(len(r.Phases), 0), Y: ms})
		if err != nil {
			return nil, nil, err
		}
		p.Add(dots, target)
		legend.Add(app.Name, dots)
		legend.Add(fmt.Sprintf("its target, %v ms", ms), target)
	}
	p.Y.Min, p.Y.Max = leastDelay, mostDelay
	return p, legend, nil
}

// Dots that would lie on each other are drawn once.
const (
	columns = 700
	perStep = 25 // rows in a tenfold of delay
)

func (r Run) points(app record.App) plotter.XYs {
	base, end := app.Base(), r.axis(len(r.Phases), 0)
	drawn := map[[2]int]bool{}
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
			point := plotter.XY{X: r.axis(i, packet.At.Sub(phase.Start)), Y: math.Min(math.Max(ms, leastDelay), mostDelay)}
			place := [2]int{int(columns * point.X / end), int(perStep * math.Log10(point.Y/leastDelay))}
			if !drawn[place] {
				drawn[place] = true
				points = append(points, point)
			}
		}
	}
	return points
}

// rates shows what each sender got and both together, the sum of their limits,
// and the capacity.
func (r Run) rates() (*plot.Plot, *plot.Legend, error) {
	top := 1.15 * r.Capacity.Mbit()
	p, legend := r.frame("best effort, Mbit/s", top), newLegend()
	p.X.Label.Text = "seconds of each phase"
	for i, phase := range r.Phases {
		s := r.series(i, top)
		for _, l := range []struct {
			name          string
			hue           color.Color
			dashed, steps bool
			points        plotter.XYs
		}{
			{scene.Senders[0], orange, false, false, s.each[0]},
			{scene.Senders[1], blue, false, false, s.each[1]},
			{"both", green, false, false, s.sum},
			{"sum of the recorded limits", purple, false, true, s.limits},
			{"capacity", black, true, false, r.capacity(i)},
		} {
			if len(phase.Samples) == 0 {
				continue
			}
			drawn, err := line(l.hue, l.dashed, l.points...)
			if err != nil {
				return nil, nil, err
			}
			if l.steps {
				drawn.StepStyle = plotter.PostStep
			}
			p.Add(drawn)
			if i == 0 {
				legend.Add(l.name, drawn)
			}
		}
	}
	p.Y.Min, p.Y.Max = 0, top // what was added may have widened them
	return p, legend, nil
}

type series struct {
	each        [2]plotter.XYs
	sum, limits plotter.XYs
}

// smooth is how many samples make one point of a rate.
const smooth = 3

func (r Run) series(i int, top float64) (s series) {
	phase := r.Phases[i]
	for group := range slices.Chunk(phase.Samples, smooth) {
		x := r.axis(i, group[len(group)-1].At.Sub(phase.Start))
		sum := 0.0
		for k := range scene.Senders {
			got := scene.Rate(group, k).Mbit()
			s.each[k] = append(s.each[k], plotter.XY{X: x, Y: min(got, top)})
			sum += got
		}
		s.sum = append(s.sum, plotter.XY{X: x, Y: min(sum, top)})
	}
	for _, sample := range phase.Samples {
		limit := 0.0
		for _, sender := range sample.Senders {
			if sender.Limit == 0 {
				limit = top
			}
			limit += sender.Limit.Mbit()
		}
		s.limits = append(s.limits, plotter.XY{X: r.axis(i, sample.At.Sub(phase.Start)), Y: min(limit, top)})
	}
	return s
}

// capacity is the uplink's in a phase, with its steps.
func (r Run) capacity(i int) (points plotter.XYs) {
	phase, now := r.Phases[i], r.Capacity
	at := func(t time.Time) {
		points = append(points, plotter.XY{X: r.axis(i, t.Sub(phase.Start)), Y: now.Mbit()})
	}
	at(phase.Start)
	for _, s := range r.Shifts {
		if s.At.After(phase.Start) && s.At.Before(phase.End) {
			at(s.At)
			now = s.To
			at(s.At)
		}
	}
	at(phase.End)
	return points
}

// frame is an empty plot with the phases marked and named.
func (r Run) frame(label string, top float64) *plot.Plot {
	p := plot.New()
	p.Y.Label.Text = label
	p.X.Min, p.X.Max = 0, r.axis(len(r.Phases), 0)
	p.X.Tick.Marker = r.seconds()
	for _, style := range []*draw.TextStyle{&p.X.Tick.Label, &p.Y.Tick.Label, &p.X.Label.TextStyle, &p.Y.Label.TextStyle} {
		style.Font.Size = fontSize
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
			labels.TextStyle[j].Font.Size = fontSize
		}
		p.Add(labels)
	}
	return p
}

// seconds marks the axis from the start of each phase.
func (r Run) seconds() plot.ConstantTicks {
	longest := 0.0
	for i := range r.Phases {
		longest = max(longest, r.axis(i+1, 0)-r.axis(i, 0))
	}
	step := 1.0
	for _, s := range []float64{2, 5, 10, 20, 30, 60, 120} {
		if longest/step > 4 {
			step = s
		}
	}
	var ticks plot.ConstantTicks
	for i := range r.Phases {
		for s := 0.0; s < r.axis(i+1, 0)-r.axis(i, 0)-step/3; s += step {
			ticks = append(ticks, plot.Tick{Value: r.axis(i, 0) + s, Label: strconv.FormatFloat(s, 'f', -1, 64)})
		}
	}
	return ticks
}

func newLegend() *plot.Legend {
	l := plot.NewLegend()
	l.Top, l.Left, l.Padding = true, true, vg.Points(3)
	l.TextStyle.Font.Size = fontSize
	return &l
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
