package controller

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gauges keeps the labels of series from one scrape to the next: with many nodes they
// are most of what a scrape makes. The zero value is ready, for any goroutine.
type gauges struct {
	mu     sync.Mutex
	scrape int
	known  map[series]*labels
}

// series is one of a metric; none has more than three labels.
type series struct {
	of     *prometheus.Desc
	values [3]string
}

type labels struct {
	pairs []*dto.LabelPair // in their order; not changed
	last  int              // scrape that told the series
}

// gauge is a value of a series.
type gauge struct {
	of    *prometheus.Desc
	pairs []*dto.LabelPair
	value float64
}

func (g gauge) Desc() *prometheus.Desc { return g.of }

func (g gauge) Write(out *dto.Metric) error {
	out.Label, out.Gauge = g.pairs, &dto.Gauge{Value: &g.value}
	return nil
}

// collect has tell put what is to be told now, and forgets the labels of what is not.
func (g *gauges) collect(ch chan<- prometheus.Metric, tell func(put func(*prometheus.Desc, float64, ...string))) {
	var all []gauge
	g.gather(&all, tell)
	for i := range all { // whoever reads may be slow, and another may wait
		ch <- all[i]
	}
}

func (g *gauges) gather(all *[]gauge, tell func(put func(*prometheus.Desc, float64, ...string))) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*all = make([]gauge, 0, len(g.known))
	if g.known == nil {
		g.known = map[series]*labels{}
	}
	g.scrape++
	tell(func(of *prometheus.Desc, value float64, values ...string) {
		s := series{of: of}
		copy(s.values[:], values)
		known := g.known[s]
		if known == nil {
			known = &labels{pairs: prometheus.MakeLabelPairs(of, values)}
			g.known[s] = known
		}
		known.last = g.scrape
		*all = append(*all, gauge{of, known.pairs, value})
	})
	if len(*all) < len(g.known) {
		maps.DeleteFunc(g.known, func(_ series, l *labels) bool { return l.last != g.scrape })
	}
}
