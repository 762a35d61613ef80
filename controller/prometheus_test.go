package controller_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/promql/promtest"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/workload"
)

// TestPrometheusProbe goes all the way of a query: from the annotation on a pod
// to a real Prometheus, into the law's observation and the status.
func TestPrometheusProbe(t *testing.T) {
	delay := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "robot_delay_seconds", Help: "x", Buckets: []float64{0.001, 0.002, 0.004, 0.008},
	})
	var slow atomic.Bool
	robot := promtest.Export(t, delay, func() {
		took := 0.0015
		if slow.Load() {
			took = 0.0075
		}
		for range 100 {
			delay.Observe(took)
		}
	})
	prom := promql.DefaultConfig()
	prom.URL, prom.Interval, prom.Timeout = promtest.Start(t, robot.Addr), time.Second, 10*time.Second
	c := cluster{t, kubernetes.NewForConfigOrDie(apitest.Start(t).Config)}
	query := func(text string) map[string]string {
		return map[string]string{workload.AnnotationMaxJitter: "1ms", workload.AnnotationProbe: "prometheus", workload.AnnotationQuery: text}
	}
	c.pod("a-robot", "worker-1", workload.ClassCritical, query(`histogram_quantile(0.95, rate(robot_delay_seconds_bucket[5s]))`))
	c.pod("b-typo", "worker-1", workload.ClassCritical, query(`rate(robot_dealy_seconds_bucket[5s])`))
	c.pod("c-unreadable", "worker-1", workload.ClassCritical, query(`rate(robot_delay_seconds_bucket[5s]`))

	seen := &watching{}
	loop, _ := startLoopWith(t, c, seen, prom)
	app := func(i int) status.App {
		s := loop.Status()
		if len(s.Apps) <= i || len(s.Apps[i].Sessions) == 0 {
			return status.App{State: "not there"}
		}
		return s.Apps[i]
	}
	c.eventually("the robot is measured", func() bool { return app(0).State == status.OK })
	o := seen.newest.Load()
	session := o.Apps[0].Sessions[0]
	if newest := session.Samples[len(session.Samples)-1]; newest.RTT < time.Millisecond || newest.RTT > 2*time.Millisecond {
		t.Errorf("the law is told %v, want from 1 to 2 ms", newest.RTT)
	}
	if session.Lag != 5*time.Second+prom.ScrapeInterval || o.Apps[0].Protocol != workload.Prometheus {
		t.Errorf("the law is told of %s with a lag of %v", o.Apps[0].Protocol, session.Lag)
	}
	c.eventually("a query without data is blind, and why", func() bool { // each is answered by itself
		typo := app(1)
		return typo.State == status.Blind && strings.Contains(typo.Sessions[0].Error, "no present value of robot_dealy_seconds_bucket")
	})
	if unreadable := loop.Status(); len(unreadable.Problems) != 1 || !strings.Contains(unreadable.Problems[0].Text, workload.AnnotationQuery) {
		t.Errorf("problems %+v, want one about the query that can't be read", unreadable.Problems)
	}

	slow.Store(true)
	c.eventually("a slow robot is in violation", func() bool { return app(0).State == status.Violated })
	robot.Down.Store(true)
	c.eventually("a vanished exporter leaves it blind", func() bool { return app(0).State == status.Blind })
	if samples := seen.newest.Load().Apps[0].Sessions[0].Samples; samples != nil {
		t.Errorf("the law is told %d samples of a blind query", len(samples))
	}
	robot.Down.Store(false)
	c.eventually("it is seen again", func() bool { return app(0).State == status.Violated })
}

// TestProtectsByPrometheus closes the loop over a real Prometheus: the app says
// itself how late it is, and that is late while the limits in force add up to
// more than the uplink carries.
func TestProtectsByPrometheus(t *testing.T) {
	c := cluster{t, kubernetes.NewForConfigOrDie(apitest.Start(t).Config)}
	c.node("worker-2")
	var load, late atomic.Bool
	c.agent("node-2", "agent-node", "worker-2", "127.0.0.2", startAgent(t, &standIn{client: c, node: "worker-2", role: api.Role_ROLE_NODE, load: &load}))
	for _, name := range []string{"telemetry-upload", "erp-dashboard"} {
		c.pod(name, "worker-2", "best-effort", map[string]string{workload.AnnotationInitialBandwidth: "500M", workload.AnnotationEgressBandwidth: "500M"})
	}
	delay := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "robot_delay_seconds", Help: "x", Buckets: []float64{0.0001, 0.0005, 0.01, 0.1}})
	robot := promtest.Export(t, delay, func() {
		took := 0.0003
		if late.Load() {
			took = 0.02
		}
		for range 100 {
			delay.Observe(took)
		}
	})
	prom := promql.DefaultConfig()
	prom.URL, prom.ScrapeInterval = promtest.Start(t, robot.Addr), time.Second
	prom.Interval, prom.Timeout = time.Second, 10*time.Second
	c.pod("robot-control", "worker-2", workload.ClassCritical, map[string]string{
		workload.AnnotationMaxJitter: "1ms", workload.AnnotationProbe: "prometheus", workload.AnnotationQuery: `histogram_quantile(0.95, rate(robot_delay_seconds_bucket[5s]))`,
	})
	chosen, err := law.New(law.Adaptive, law.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	loop, _ := startLoopWith(t, c, chosen, prom)
	is := func(state string) bool { s := loop.Status(); return len(s.Apps) == 1 && s.Apps[0].State == state }
	c.eventually("the robot is well", func() bool { return is(status.OK) })
	load.Store(true)
	c.eventually("the limits fit through the uplink", func() bool {
		late.Store(c.limit("telemetry-upload")+c.limit("erp-dashboard") > capacity)
		return !late.Load()
	})
	c.eventually("the robot says so", func() bool { return is(status.OK) })
}

// watching is a law that looks on.
type watching struct {
	newest atomic.Pointer[plan.Observation]
}

func (*watching) Name() string { return "watching" }

func (w *watching) Step(s law.State, v sense.View) (law.State, plan.Plan) {
	seen := v.Observation // whose room is used again
	seen.Apps = slices.Clone(seen.Apps)
	for i := range seen.Apps {
		seen.Apps[i].Sessions = slices.Clone(seen.Apps[i].Sessions)
	}
	w.newest.Store(&seen)
	return s, plan.Plan{At: v.At}
}
