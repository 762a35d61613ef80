package promql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// atOnce bounds the queries that the server is asked at the same time.
const atOnce = 4

// maxSamples bounds what is kept of one query, besides twice its lag.
const maxSamples = 500

// Poller asks queries again and again, away from the loop that reads the
// answers. Equal queries of several pods are asked once.
type Poller struct {
	config atomic.Pointer[Config]
	client *http.Client
	log    *slog.Logger
	turns  *turns
	asked  *prometheus.CounterVec
	asking sync.WaitGroup

	mu      sync.Mutex
	queries map[string]*query // by text
}

// Wanted is a query, and the app on whose account it is asked: the name of what its
// pods were made from, or of the pod.
type Wanted struct {
	workload.Query
	Namespace, App string
}

// query is one that is asked.
type query struct {
	workload.Query
	apps     []account // that want it, in order
	cancel   context.CancelFunc
	config   *Config // by which samples came
	samples  []plan.Sample
	err      error
	answered time.Time
}

// Answer is what is known of one query now.
type Answer struct {
	Samples []plan.Sample // oldest first; none where the newest answer is no good
	Lag     time.Duration
	Error   string // why there are none
}

// New returns a Poller that asks nothing yet.
func New(c Config, log *slog.Logger, r prometheus.Registerer) *Poller {
	p := &Poller{
		log: log, turns: newTurns(), queries: map[string]*query{},
		// A redirect would lead to a server that nobody named.
		client: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_prometheus_queries_total",
			Help: "Times that Prometheus was asked for a critical pod's delay, by result: ok, no-data, stale or failed.",
		}, []string{"result"}),
	}
	r.MustRegister(p.asked)
	p.client.Transport = newTransport(func() string { return p.config.Load().CAFile })
	p.Set(c)
	return p
}

// Set changes the configuration; what another server answered is forgotten.
func (p *Poller) Set(c Config) {
	if old := p.config.Load(); old == nil || *old != c {
		p.config.Store(&c)
	}
}

// Ask makes the queries that are asked match want. What stays is not disturbed.
// Each is asked until ctx ends.
func (p *Poller) Ask(ctx context.Context, want []Wanted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	queries := make(map[string]*query, len(want))
	apps := make(map[string][]account, len(want))
	asking := map[account]bool{}
	for _, w := range want {
		of := account{w.Namespace, w.App}
		asking[of] = true
		if !slices.Contains(apps[w.Text], of) {
			apps[w.Text] = append(apps[w.Text], of)
		}
		if queries[w.Text] == nil {
			if queries[w.Text] = p.queries[w.Text]; queries[w.Text] == nil {
				queries[w.Text] = p.begin(ctx, w.Query)
			}
		}
	}
	for text, q := range queries {
		q.apps = apps[text]
	}
	for text, q := range p.queries {
		if queries[text] == nil {
			q.cancel()
		}
	}
	p.queries = queries
	p.turns.remember(asking)
}

// begin asks a query from now on. The first time waits for mu.
func (p *Poller) begin(ctx context.Context, of workload.Query) *query {
	q := &query{Query: of}
	ctx, q.cancel = context.WithCancel(ctx)
	p.asking.Go(func() { p.follow(ctx, q) })
	return q
}

// wantedBy are the apps on whose account a query is asked.
func (p *Poller) wantedBy(q *query) []account {
	p.mu.Lock()
	defer p.mu.Unlock()
	return q.apps
}

// Wait returns when nothing is asked any more, after the context has ended, and all
// that was answered is forgotten: what is asked then begins anew.
func (p *Poller) Wait() {
	p.asking.Wait()
	p.client.CloseIdleConnections()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queries = map[string]*query{}
	p.turns.remember(nil)
}

// Answer returns what is known of a query at now. An answer is good until the
// next but one is overdue.
func (p *Poller) Answer(text string, now time.Time) Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	q, c := p.queries[text], p.config.Load()
	if q == nil {
		return Answer{}
	}
	a := Answer{Lag: q.Range + c.ScrapeInterval}
	switch {
	case q.err != nil:
		a.Error = q.err.Error()
	case q.config != c || q.answered.IsZero():
		a.Error = "Prometheus has not answered yet"
	case now.Sub(q.answered) > 2*c.Interval+c.Timeout:
		a.Error = fmt.Sprintf("Prometheus has not answered for %v", now.Sub(q.answered).Round(time.Second))
	default:
		a.Samples = q.samples
	}
	return a
}

// follow asks one query until ctx ends.
func (p *Poller) follow(ctx context.Context, q *query) {
	for ctx.Err() == nil {
		c := p.config.Load()
		done, err := p.turns.take(ctx, p.wantedBy(q))
		if err != nil {
			return
		}
		at := time.Now()
		d, err := p.once(ctx, c, q.Query)
		done()
		if ctx.Err() != nil {
			return
		}
		p.keep(q, c, plan.Sample{At: plan.At(at), RTT: d}, err)
		timer := time.NewTimer(c.Interval)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

var errNobody = errors.New("no Prometheus server is configured: set prometheus.url")

func (p *Poller) once(ctx context.Context, c *Config, q workload.Query) (time.Duration, error) {
	if c.URL == "" {
		return 0, errNobody
	}
	d, err := source{*c, p.client}.delay(ctx, q)
	result := "ok"
	switch {
	case errors.Is(err, errNoData):
		result = "no-data"
	case errors.Is(err, errStale):
		result = "stale"
	case err != nil:
		result = "failed"
	}
	if ctx.Err() == nil {
		p.asked.WithLabelValues(result).Inc()
	}
	return d, err
}

// keep stores an answer or why there is none. What was known before a failure
// is kept for when answers are good again, and not shown until then.
func (p *Poller) keep(q *query, c *Config, s plan.Sample, err error) {
	p.mu.Lock()
	before := q.err
	if q.config != c {
		q.config, q.samples = c, nil
	}
	if q.err = err; err == nil {
		q.answered = s.At.Time()
		oldest := s.At.Time().Add(-2 * (q.Range + c.ScrapeInterval))
		q.samples = append(slices.Clone(q.samples[max(0, len(q.samples)-maxSamples+1):]), s) // readers hold the old ones
		q.samples = slices.DeleteFunc(q.samples, func(s plan.Sample) bool { return s.At.Before(oldest) })
	}
	p.mu.Unlock()
	switch {
	case err != nil && before == nil:
		p.log.Warn("query is blind: the app that it measures is held as it is", "query", q.Text, "err", err)
	case err == nil && before != nil:
		p.log.Info("query sees again", "query", q.Text)
	}
}
