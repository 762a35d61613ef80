// Package sense turns samples into judgement: for each path the delay of the
// empty path, for each critical app how much later its packets are than that,
// and whether that breaks its targets. The loop asks it once a tick; the law, the
// status, its page, metrics and the recording all show what it said.
package sense

import (
	"maps"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// Config says what is looked at.
type Config struct {
	// Window is how much of the newest samples of a session a decision looks
	// at.
	Window time.Duration `yaml:"window"`
	// MinSamples is how many samples must be in the window; fewer are "blind".
	MinSamples int `yaml:"minSamples"`
	// Stale is the age at which the newest sample says nothing any more; a second more
	// while its agent is asked to report less often.
	Stale time.Duration `yaml:"stale"`
	// Soft is the share of a target that a standing queue may take before the
	// law acts.
	Soft float64 `yaml:"soft"`
	// Calm is the share of that below which the law may raise.
	Calm float64 `yaml:"calm"`
	// LossWindow is the time over which lost probes are counted.
	LossWindow time.Duration `yaml:"lossWindow"`
	// LossShare is the share of lost probes above which an app without a loss
	// target of its own is in violation.
	LossShare float64 `yaml:"lossShare"`
}

// DefaultConfig returns the constants that docs/control-law.md explains.
func DefaultConfig() Config {
	return Config{
		Window: 250 * time.Millisecond, MinSamples: 6, Stale: 600 * time.Millisecond,
		Soft: 0.5, Calm: 0.7, LossWindow: 2 * time.Second, LossShare: 0.1,
	}
}

// View is an observation and what sense makes of it.
type View struct {
	plan.Observation
	Verdicts []Verdict // of each app, by all of its samples
	// Elsewhere is there where the observation is a recorded part of a cluster.
	Elsewhere *plan.Elsewhere
}

// Judge says what each app of an observation suffers. Bases must be known.
func Judge(c Config, o plan.Observation) View {
	v := View{Observation: o, Verdicts: make([]Verdict, len(o.Apps))}
	for i := range o.Apps {
		v.Verdicts[i] = c.Judge(&o.Apps[i], time.Time{}, o.At)
	}
	return v
}

// Memory is what is remembered of paths from one tick to the next. The zero
// value knows nothing. It is for one goroutine.
type Memory struct {
	paths map[pathKey]*path
	tick  int
}

type pathKey struct {
	app plan.PodID
	id  string
}

// Observe takes in the new samples of o, puts into its sessions the bases of
// their paths, and judges. Paths that are not in o are forgotten.
func (m *Memory) Observe(c Config, o plan.Observation) View {
	m.tick++
	busy := busy(o)
	if m.paths == nil {
		m.paths = map[pathKey]*path{}
	}
	for i := range o.Apps {
		app := &o.Apps[i]
		for k := range app.Sessions {
			m.observe(c, app, &app.Sessions[k])
		}
		for k := range app.NodeSessions {
			m.observe(c, app, &app.NodeSessions[k])
		}
		m.corroborate(app, busy)
		m.rest(app, busy, o.At)
		m.vouch(c, app, o.At)
	}
	maps.DeleteFunc(m.paths, func(_ pathKey, p *path) bool { return p.tick != m.tick })
	return Judge(c, o)
}

// observe brings one path up to date. Where the agent answers for the app, session and node session
// are one, and the second finds nothing new.
func (m *Memory) observe(c Config, app *plan.App, s *plan.Session) {
	key := pathKey{app.Pod, s.ID}
	p := m.paths[key]
	if p == nil {
		p = &path{}
		m.paths[key] = p
	}
	p.tick = m.tick
	p.add(s)
	p.known = p.known || !p.seen.IsZero() && p.trip.value() < doubtful*Allowance(app.SLO, 0)
	p.judge(s.Samples, c.Window, c.soft(Allowance(app.SLO, p.trip.value())))
	s.Base = p.base()
}

// Learn takes over what a law found out by cutting the senders, or as nobody sends: of
// whom the least delay seen is that of the empty path, and how late whom is by itself.
func (m *Memory) Learn(from plan.Plan) {
	if len(from.Empty)+len(from.Idle) == 0 {
		return
	}
	empty, idle := make(map[plan.PodID]bool, len(from.Empty)), make(map[plan.PodID]time.Duration, len(from.Idle))
	for _, app := range from.Empty {
		empty[app] = true
	}
	for _, i := range from.Idle {
		idle[i.App] = i.Delay
	}
	for key, p := range m.paths {
		p.known = p.known || empty[key.app]
		if delay, known := idle[key.app]; known {
			p.idling.idle, p.idling.tail = delay, delay
		}
	}
}

// doubtful is how many times its allowance the first base of a path must be
// for it to be doubted: a queue may have stood there since before anybody began
// to look. One cut then tells.
const doubtful = 4
