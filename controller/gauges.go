package controller

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	dto "github.com/prometheus/client_model/go"
)

// description is of a metric, with at most three labels.
type description struct {
	name, help string
	labels     []string
	at         int // its place in described
}

// described are all that there are.
var described []*description

func describe(name, help string, labels ...string) *description {
	d := &description{name, help, labels, len(described)}
	described = append(described, d)
	return d
}

// DescribeGauges calls f with the name and the labels of every gauge that a Gatherer adds.
func DescribeGauges(f func(name string, labels []string)) {
	for _, d := range described {
		f(d.name, d.labels)
	}
}

// putter tells a gauge, with the values of its labels.
type putter = func(of *description, value float64, labels ...string)

// gauges keeps the labels of series from one scrape to the next: with many nodes they
// are most of what a scrape makes. The zero value is ready, for any goroutine.
type gauges struct {
	mu     sync.Mutex
	scrape int
	known  map[series]*labels
	order  []*labels // as they were told last: most often they come so again
}

// series is one of a metric.
type series struct {
	of     *description
	values [3]string
}

type labels struct {
	series
	pairs []*dto.LabelPair // in their order; not changed
	last  int              // scrape that told the series
}

// gauge is a value of a series.
type gauge struct {
	of    *description
	pairs []*dto.LabelPair
	value float64
}

// families are the gauges that tell puts, each series once, and forgets the labels of
// those that it does not.
func (g *gauges) families(tell func(putter)) []*dto.MetricFamily {
	all := g.gather(tell)
	counts := make([]int, len(described))
	for i := range all {
		counts[all[i].of.at]++
	}
	room := make([]struct {
		metric dto.Metric
		gauge  dto.Gauge
	}, len(all))
	families := make([]*dto.MetricFamily, len(described))
	kind := dto.MetricType_GAUGE
	for i := range all {
		x, d := &all[i], all[i].of
		if families[d.at] == nil {
			families[d.at] = &dto.MetricFamily{Name: &d.name, Help: &d.help, Type: &kind, Metric: make([]*dto.Metric, 0, counts[d.at])}
		}
		m := &room[i]
		m.gauge.Value, m.metric.Gauge, m.metric.Label = &x.value, &m.gauge, x.pairs
		families[d.at].Metric = append(families[d.at].Metric, &m.metric)
	}
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return f == nil })
}

func (g *gauges) gather(tell func(putter)) []gauge {
	g.mu.Lock()
	defer g.mu.Unlock()
	all, order := make([]gauge, 0, len(g.known)), make([]*labels, 0, len(g.known))
	if g.known == nil {
		g.known = map[series]*labels{}
	}
	g.scrape++
	tell(func(of *description, value float64, values ...string) {
		s := series{of: of}
		copy(s.values[:], values)
		var known *labels
		if n := len(all); n < len(g.order) && g.order[n].series == s {
			known = g.order[n]
		} else {
			known = g.known[s]
		}
		switch {
		case known == nil:
			known = &labels{series: s, pairs: of.pairs(values)}
			g.known[s] = known
		case known.last == g.scrape:
			return // told already
		}
		known.last = g.scrape
		all, order = append(all, gauge{of, known.pairs, value}), append(order, known)
	})
	g.order = order
	if len(all) < len(g.known) {
		maps.DeleteFunc(g.known, func(_ series, l *labels) bool { return l.last != g.scrape })
	}
	return all
}

// pairs are the labels with these values, in the order of their names.
func (d *description) pairs(values []string) []*dto.LabelPair {
	pairs := make([]*dto.LabelPair, len(values))
	for i := range values {
		value := values[i]
		pairs[i] = &dto.LabelPair{Name: &d.labels[i], Value: &value}
	}
	slices.SortFunc(pairs, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return pairs
}
