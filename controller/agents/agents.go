// Package agents holds one gRPC stream to each agent: it says what to probe,
// receives what was measured and keeps the recent past of every session and
// pod. An agent that is gone leaves its sessions without new samples; nothing
// else stops.
package agents

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

// Assignment is one agent and what it is to probe.
type Assignment struct {
	inventory.Agent
	Sessions []*api.Session
}

// Pool holds the streams and what came over them.
type Pool struct {
	creds credentials.TransportCredentials
	log   *slog.Logger
	links sync.WaitGroup

	urgent  chan struct{} // an agent has reported before its time
	stirred atomic.Bool   // or something worth a decision, since it was last asked for

	strained atomic.Bool   // there is more to read than there is time for
	looked   atomic.Int64  // when the loop last asked what is known, ns since 1970
	dialling chan struct{} // has room for those who begin a stream

	connecting sync.Mutex
	dialer     *dialer // nil: no stream was begun

	// Deposed is called when an agent refuses this controller because it has heard
	// one of a later term; may be nil. Set it before the first Assign.
	Deposed func()

	// key signs the probes among the agents, for the life of this Pool. Reflectors
	// go on to answer what is signed with the one before.
	key []byte

	mu       sync.Mutex
	want     []Assignment        // the last ones; not to be changed
	senders  []*inventory.Sender // likewise
	byUID    map[types.UID]*link
	byNode   map[string][]*link
	sessions map[string]*session
	numbers  map[uint32]*session // that stand for their ids in reports
	given    uint32              // the last number
	pace     Pace
	rates    map[plan.PodID]*rates
	holding  map[netip.AddrPort]int     // agents that answer there and hold the key
	asking   map[netip.AddrPort][]*link // that have a session there
	limits   map[string]*api.Limits     // by node
	limiters map[string]*plan.Limiter   // by node, as its agent last let know
	reports  uint64                     // received
	found    found                      // of the maps, since they last changed
	heard    []*session                 // of which anything came since it was last asked for
}

// session is one measured path.
type session struct {
	agent   types.UID // the only one whose word counts
	number  uint32
	samples window[plan.Sample]
	lost    plan.Instant // the newest sample that is
	place   int          // in what was last found, the last of them
	heard   bool         // it is among the pool's
	err     string
	report  uint64   // the last one that spoke of it
	watch   lateness // of its round trips
}

// Measurement is what is known of one session.
type Measurement struct {
	Samples  []plan.Sample // the recent past, oldest first; shared: do not modify
	Lossless bool          // none of them is lost
	Error    string        // why the agent can't measure
}

// rates is one pod's usage.
type rates struct {
	uid  types.UID
	node string // whose agent's word counts
	tx   window[plan.TxRate]
	held Held
	calm bool // its agent's last report was
}

// New returns a Pool without streams.
func New(creds credentials.TransportCredentials, log *slog.Logger) *Pool {
	p := &Pool{creds: creds, log: log, key: newKey(), urgent: make(chan struct{}, 1), dialling: make(chan struct{}, dialsAtOnce)}
	p.clear()
	return p
}

// Wait returns when all streams have ended, after their context has, and all that
// came over them is forgotten.
func (p *Pool) Wait() {
	p.links.Wait()
	p.connecting.Lock()
	if p.dialer != nil {
		p.dialer.close()
	}
	p.dialer = nil
	p.connecting.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// connect makes a connection to an agent.
func (p *Pool) connect(ctx context.Context, addr string) (*connection, error) {
	p.connecting.Lock()
	if p.dialer == nil {
		var err error
		if p.dialer, err = newDialer(p.creds); err != nil {
			p.connecting.Unlock()
			return nil, err
		}
	}
	d := p.dialer
	p.connecting.Unlock()
	return d.dial(ctx, addr)
}

func (p *Pool) clear() {
	p.found, p.heard = found{}, nil
	p.byUID, p.sessions, p.numbers = map[types.UID]*link{}, map[string]*session{}, map[uint32]*session{}
	p.want, p.senders, p.byNode = nil, nil, map[string][]*link{}
	p.holding, p.asking = map[netip.AddrPort]int{}, map[netip.AddrPort][]*link{}
	p.rates, p.limits = map[plan.PodID]*rates{}, map[string]*api.Limits{}
	p.limiters = map[string]*plan.Limiter{}
}

// Session returns what is known of a session; nothing of an unknown one.
func (p *Pool) Session(id string, now time.Time) Measurement {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[id]
	if s == nil {
		return Measurement{}
	}
	return s.measurement(now)
}

// add takes in a batch that is in order.
func (s *session) add(batch []plan.Sample, now time.Time, long time.Duration) {
	for i := range batch {
		if x := &batch[i]; x.Lost && x.At.Compare(s.lost) > 0 {
			s.lost = x.At
		}
	}
	s.samples.add(batch, now, long)
}

func (s *session) measurement(now time.Time) Measurement {
	return Measurement{s.samples.view(now), s.lost == 0 || s.lost.Compare(s.samples.oldest) < 0, s.err}
}

// Urgent receives when an agent has reported before its time, because a session
// has become late. Several may come as one.
func (p *Pool) Urgent() <-chan struct{} { return p.urgent }

// Stirred reports whether something has come since the last call that may be worth a
// decision: a packet that is lost or later than what a standing queue may take, a path of
// which nothing was known or that can't be measured, another limit in force.
func (p *Pool) Stirred() bool { return p.stirred.Swap(false) }

// State says whether an agent reports.
type State struct {
	Connected bool
	Since     time.Time
	Why       string // it does not
	// Refused is how often its stream was ended because it reported too much.
	Refused int64
	// Uplinks are what its node's packets leave by, as it last said.
	Uplinks []status.Uplink
}

// State returns whether reports flow from a, since when, and why not.
func (p *Pool) State(a inventory.Agent) State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.byUID[a.UID]; l != nil {
		s := *l.state.Load()
		s.Uplinks, s.Refused = l.uplinks, l.refused.Load()
		return s
	}
	return State{Why: "nobody has asked it for anything yet"}
}
