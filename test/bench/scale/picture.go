package main

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/detnet/detnet/test/scene/picture"
)

// curve is one figure of every run.
type curve struct {
	name string
	hue  color.RGBA // Okabe and Ito's: they stay apart for most colour-blind readers
	of   func(Figures) float64
}

var (
	blue      = color.RGBA{0, 114, 178, 255}
	vermilion = color.RGBA{213, 94, 0, 255}
	green     = color.RGBA{0, 158, 115, 255}
)

// panels are what is drawn against the number of nodes.
var panels = []struct {
	title  string
	curves []curve
}{
	{"the leader while all is calm, cores", []curve{
		{"used", blue, func(f Figures) float64 { return f.LeaderCores }},
		{"ready, and without a core", vermilion, func(f Figures) float64 { return f.LeaderWaits }},
	}},
	{"memory in use, MiB", []curve{
		{"leader", blue, func(f Figures) float64 { return f.LeaderMiB }},
		{"standby", green, func(f Figures) float64 { return f.StandbyMiB }},
	}},
	{"first effective cut after the onset, p99, s", []curve{
		{"one node", green, onset(0)}, {"a tenth at once", blue, onset(1)}, {"all at once", vermilion, onset(2)},
	}},
	{"until the node of a new pod is told, s", []curve{
		{"median", blue, func(f Figures) float64 { return f.Churn.LagP50 }},
		{"p99", vermilion, func(f Figures) float64 { return f.Churn.LagP99 }},
	}},
	{"a create, many pods cached, ms", []curve{
		{"with the webhook, p99", vermilion, admission(func(a Admission) float64 { return a.WithP99Ms })},
		{"without, p99", green, admission(func(a Admission) float64 { return a.WithoutP99Ms })},
		{"with the webhook, median", blue, admission(func(a Admission) float64 { return a.WithP50Ms })},
	}},
	{"after the leader was killed, s", []curve{
		{"lease taken", green, func(f Figures) float64 { return f.ChangeLease }},
		{"next decision", blue, func(f Figures) float64 { return f.ChangeDecision }},
		{"last node told", vermilion, func(f Figures) float64 { return f.ChangeAllNodes }},
	}},
}

func onset(i int) func(Figures) float64 {
	return func(f Figures) float64 {
		if i < len(f.Onsets) && f.Onsets[i].Cut > 0 {
			return f.Onsets[i].CutP99
		}
		return math.NaN() // nobody got relief: that is no point
	}
}

func admission(of func(Admission) float64) func(Figures) float64 {
	return func(f Figures) float64 {
		if f.Admission.Cached == 0 {
			return math.NaN() // not measured
		}
		return of(f.Admission)
	}
}

// sizes are ticks at the numbers of nodes that were measured.
func sizes(all []Figures) (ticks plot.ConstantTicks) {
	for _, f := range all {
		ticks = append(ticks, plot.Tick{Value: float64(f.Nodes), Label: fmt.Sprint(f.Nodes)})
	}
	return ticks
}

// drawAll writes the curves of all runs to path, as an SVG.
func drawAll(path string, all []Figures) error {
	const width, height = 18 * vg.Centimeter, 20 * vg.Centimeter
	canvas := vgsvg.New(width, height)
	if err := layout(draw.New(canvas), all); err != nil {
		return err
	}
	return picture.Save(canvas, path)
}

// layout draws the panels, in rows.
func layout(on draw.Canvas, all []Figures) error {
	const columns = 2
	rows := make([][]*plot.Plot, len(panels)/columns)
	for i, panel := range panels {
		p := plot.New()
		p.Title.Text, p.X.Label.Text = panel.title, "nodes"
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, sizes(all)
		p.Legend.Top, p.Legend.Left, p.Legend.Padding, p.Legend.XOffs = true, true, vg.Points(2), vg.Points(4)
		grid := plotter.NewGrid()
		grid.Vertical.Color, grid.Horizontal.Color = nil, color.Gray{230}
		p.Add(grid)
		for _, c := range panel.curves {
			var points plotter.XYs
			for _, f := range all {
				if y := c.of(f); !math.IsNaN(y) {
					points = append(points, plotter.XY{X: float64(f.Nodes), Y: y})
				}
			}
			if len(points) == 0 {
				p.Legend.Add(c.name + ": none")
				continue
			}
			line, dots, err := plotter.NewLinePoints(points)
			if err != nil {
				return fmt.Errorf("draw %s: %w", panel.title, err)
			}
			line.Color, dots.Color, dots.Shape = c.hue, c.hue, draw.CircleGlyph{}
			p.Add(line, dots)
			p.Legend.Add(c.name, line)
		}
		p.X.Min, p.X.Max = float64(all[0].Nodes)/1.2, float64(all[len(all)-1].Nodes)*1.2
		p.Y.Min, p.Y.Max = 0, max(p.Y.Max, 0.01)*(1.2+0.2*float64(len(panel.curves))) // the legend has room above
		rows[i/columns] = append(rows[i/columns], p)
	}
	tiles := draw.Tiles{Rows: len(rows), Cols: columns, PadX: vg.Points(8), PadY: vg.Points(8), PadTop: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(4), PadBottom: vg.Points(4)}
	for i, row := range plot.Align(rows, tiles, on) {
		for k, place := range row {
			rows[i][k].Draw(place)
		}
	}
	return nil
}
