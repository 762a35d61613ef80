package report

import (
	"image/color"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// figure is rows of panels under one legend, which hides nothing.
type figure struct {
	rows   [][]*plot.Plot
	legend []key
}

// key says what one line or mark is.
type key struct {
	name  string
	thumb plot.Thumbnailer
}

const legendHeight, keyWidth = 0.28 * vg.Inch, 2.0 * vg.Inch

func (f *figure) add(name string, thumb plot.Thumbnailer) {
	if !slices.ContainsFunc(f.legend, func(k key) bool { return k.name == name }) {
		f.legend = append(f.legend, key{name, thumb})
	}
}

func (f *figure) line(p *plot.Plot, name string, c color.Color, xys plotter.XYs) {
	f.draws(p, name, c, xys, plotter.NoStep)
}

// steps draws what stays as it is until the next value.
func (f *figure) steps(p *plot.Plot, name string, c color.Color, xys plotter.XYs) {
	f.draws(p, name, c, xys, plotter.PostStep)
}

func (f *figure) draws(p *plot.Plot, name string, c color.Color, xys plotter.XYs, kind plotter.StepKind) {
	l, err := plotter.NewLine(thinned(xys))
	if err != nil {
		return // nothing to draw
	}
	l.Color, l.Width, l.StepStyle = c, vg.Points(1.1), kind
	p.Add(l)
	f.add(name, l)
}

func (f *figure) marks(p *plot.Plot, name string, c color.Color, shape draw.GlyphDrawer, xys plotter.XYs) {
	s, err := plotter.NewScatter(xys)
	if err != nil || len(xys) == 0 {
		return
	}
	s.GlyphStyle = draw.GlyphStyle{Color: c, Radius: vg.Points(2.5), Shape: shape}
	p.Add(s)
	f.add(name, s)
}

// thinned keeps the first, the least, the most and the last of each stretch, where there are
// more points than a picture can show.
func thinned(xys plotter.XYs) plotter.XYs {
	const stretches = 1000
	if len(xys) <= 4*stretches {
		return xys
	}
	var few plotter.XYs
	for k := range stretches {
		part := xys[k*len(xys)/stretches : (k+1)*len(xys)/stretches]
		least, most := 0, 0
		for i, p := range part {
			if p.Y < part[least].Y {
				least = i
			}
			if p.Y > part[most].Y {
				most = i
			}
		}
		few = append(few, part[0], part[min(least, most)], part[max(least, most)], part[len(part)-1])
	}
	return few
}

// save writes the figure as SVG and PNG.
func (f *figure) save(dir, name string) error {
	columns := len(f.rows[0])
	w, h := vg.Length(columns)*panelWidth, vg.Length(len(f.rows))*panelHeight
	keys := max(int(w/keyWidth), 1)
	top := legendHeight * vg.Length((len(f.legend)+keys-1)/keys)
	paint := func(c vg.CanvasSizer) {
		all := draw.New(c)
		f.paintLegend(draw.Crop(all, vg.Points(8), 0, h, 0), keys)
		f.paintPanels(draw.Crop(all, 0, 0, 0, -top), columns)
	}
	svg := vgsvg.New(w, h+top)
	paint(svg)
	if err := write(filepath.Join(dir, name+".svg"), svg.WriteTo); err != nil {
		return err
	}
	img := vgimg.NewWith(vgimg.UseWH(w, h+top), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))
	paint(img)
	return write(filepath.Join(dir, name+".png"), vgimg.PngCanvas{Canvas: img}.WriteTo)
}

func (f *figure) paintPanels(c draw.Canvas, columns int) {
	grid := make([][]*plot.Plot, len(f.rows))
	for i, row := range f.rows {
		grid[i] = append(slices.Clone(row), make([]*plot.Plot, columns-len(row))...)
	}
	tiles := draw.Tiles{Rows: len(grid), Cols: columns, PadX: vg.Points(8), PadY: vg.Points(6), PadTop: vg.Points(4), PadBottom: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(8)}
	canvases := plot.Align(grid, tiles, c)
	for i, row := range grid {
		for k, p := range row {
			if p != nil {
				p.Draw(canvases[i][k])
			}
		}
	}
}

// paintLegend writes so many keys in a line. The text follows its mark, however wide the
// viewer's font is.
func (f *figure) paintLegend(c draw.Canvas, keys int) {
	for i, k := range f.legend {
		l := plot.NewLegend()
		l.Top, l.Left = true, true
		l.TextStyle.Font.Size = 9
		l.Add(k.name, k.thumb)
		x, y := vg.Length(i%keys)*keyWidth, vg.Length(i/keys)*legendHeight
		l.Draw(draw.Crop(c, x, 0, 0, -y-vg.Points(4)))
	}
}
