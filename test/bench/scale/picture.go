package main

import (
	"fmt"
	"image/color"

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
	{"leader, calm: cores", []curve{
		{"used", blue, func(f Figures) float64 { return f.LeaderCores }},
		{"waited for a core", vermilion, func(f Figures) float64 { return f.LeaderWaits }},
	}},
	{"resident memory, MiB", []curve{
		{"leader", blue, func(f Figures) float64 { return f.LeaderMiB }},
		{"standby", green, func(f Figures) float64 { return f.StandbyMiB }},
	}},
	{"first effective cut, p99, s", []curve{
		{"one node", green, onset(0)}, {"a tenth at once", blue, onset(1)}, {"all at once", vermilion, onset(2)},
	}},
	{"leader killed: s", []curve{
		{"lease taken", green, func(f Figures) float64 { return f.ChangeLease }},
		{"next decision", blue, func(f Figures) float64 { return f.ChangeDecision }},
		{"last node told", vermilion, func(f Figures) float64 { return f.ChangeAllNodes }},
	}},
}

func onset(i int) func(Figures) float64 {
	return func(f Figures) float64 {
		if i < len(f.Onsets) {
			return f.Onsets[i].CutP99
		}
		return 0
	}
}

// drawAll writes the curves of all runs to path, as an SVG.
func drawAll(path string, all []Figures) error {
	const width, height = 18 * vg.Centimeter, 12 * vg.Centimeter
	canvas := vgsvg.New(width, height)
	rows := [][]*plot.Plot{make([]*plot.Plot, 2), make([]*plot.Plot, 2)}
	for i, panel := range panels {
		p := plot.New()
		p.Title.Text, p.X.Label.Text = panel.title, "nodes"
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		p.Legend.Top, p.Legend.Left = true, true
		for _, c := range panel.curves {
			points := make(plotter.XYs, len(all))
			for k, f := range all {
				points[k] = plotter.XY{X: float64(f.Nodes), Y: c.of(f)}
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
		p.Y.Min, p.Y.Max = 0, max(p.Y.Max, 0.01)*1.4 // the legend has room above
		rows[i/2][i%2] = p
	}
	tiles := draw.Tiles{Rows: 2, Cols: 2, PadX: vg.Points(8), PadY: vg.Points(8), PadTop: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(4), PadBottom: vg.Points(4)}
	for i, row := range plot.Align(rows, tiles, draw.New(canvas)) {
		for k, place := range row {
			rows[i][k].Draw(place)
		}
	}
	return picture.Save(canvas, path)
}
