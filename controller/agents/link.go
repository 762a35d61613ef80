package agents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/status"
)

// Patience with an agent: it reports every 100 ms, so two silent seconds mean
// that the stream is dead whatever TCP believes; three after a report that was calm, of
// which there are as many as one a second.
const (
	silence    = 2 * time.Second
	calmPause  = time.Second // that an agent makes at most
	firstDelay = 250 * time.Millisecond
	maxDelay   = 10 * time.Second
)

// brief is why a stream ended, for people: an agent has a part in the words.
func brief(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), longestWhy)], "")
}

// patience is how long an agent may be silent after a report.
func patience(calm bool) time.Duration {
	if calm {
		return silence + calmPause
	}
	return silence
}

var errSilent = errors.New("no report for 2s, or 3s while all is calm")

// Beginning a stream costs both ends some milliseconds of a core, most of them TLS's. All at
// once, thousands would take longer than each is waited for.
const (
	dialsAtOnce = 128
	dialTurn    = time.Second // later it is not the processor that a dial waits for
)

// turn waits until a stream may begin, and returns what says that it has.
func (p *Pool) turn(ctx context.Context) (begun func(), err error) {
	select {
	case p.dialling <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	done := sync.OnceFunc(func() { <-p.dialling })
	slow := time.AfterFunc(dialTurn, done)
	return func() { slow.Stop(); done() }, nil
}

// link keeps a stream to one agent.
type link struct {
	pool   *Pool
	agent  inventory.Agent
	log    *slog.Logger
	cancel context.CancelFunc
	state  atomic.Pointer[State]
	// sessions is what the agent is to run, given the same as it was told, holds
	// that its reflector has the pool's key, takes that it enforces what it is
	// told. The pool's lock guards them.
	sessions, given []*api.Session
	holds, takes    bool
	uplinks         []status.Uplink // likewise
	allowed         *allowance
	refused         atomic.Int64    // reports that were too much
	latest          *api.Assignment // last one wanted; owned by assign
	out             outbox
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func newLink(p *Pool, a inventory.Agent) *link {
	l := &link{
		pool: p, agent: a,
		log:     p.log.With("agent", a.Pod.String(), "node", a.Node, "role", a.Role.String(), "addr", a.Addr),
		allowed: newAllowance(),
		out:     outbox{current: &api.Assignment{}},
	}
	l.state.Store(&State{Since: time.Now(), Why: "not reached yet"})
	return l
}

// connect notes that reports flow, and reports whether that is new.
func (l *link) connect(now time.Time) (news bool) {
	if l.state.Load().Connected {
		return false
	}
	l.state.Store(&State{Connected: true, Since: now})
	return true
}

// disconnect notes why none flow, and reports whether they did until now.
func (l *link) disconnect(why error, now time.Time) (did bool) {
	before := l.state.Load()
	since := before.Since
	if before.Connected {
		since = now
	}
	l.state.Store(&State{Since: since, Why: brief(why)})
	return before.Connected
}

// assign replaces an assignment that was not sent yet. Only Pool.Assign calls
// it, with the pool's lock held.
func (l *link) assign(a *api.Assignment) {
	if l.latest != nil && same(l.latest, a) {
		return
	}
	l.latest = a
	l.out.put(a)
}

// same reports whether two assignments of one pool say the same: of limits there is
// one message for each value. Reflection would take longer than a tick may, for
// thousands of agents.
func same(a, b *api.Assignment) bool {
	return a.CalmReportMs == b.CalmReportMs && a.LeastReportMs == b.LeastReportMs && a.Packed == b.Packed && a.Limits == b.Limits && bytes.Equal(a.StampKey, b.StampKey) &&
		slices.EqualFunc(a.Sessions, b.Sessions, sameSession)
}

func sameSession(a, b *api.Session) bool {
	return a == b || a.Id == b.Id && a.Protocol == b.Protocol && a.Host == b.Host && a.Port == b.Port && a.Dscp == b.Dscp && a.TimeoutUs == b.TimeoutUs &&
		a.MeanIntervalUs == b.MeanIntervalUs && a.Authenticated == b.Authenticated && a.NodeSession == b.NodeSession &&
		a.LateAboveUs == b.LateAboveUs && a.LateRttUs == b.LateRttUs && a.Number == b.Number
}

// run redials until ctx ends.
func (l *link) run(ctx context.Context) {
	var pause time.Duration
	for first := 2 * silence; ctx.Err() == nil; first = 2*silence + pause {
		begun := time.Now()
		err := l.stream(ctx, first)
		if ctx.Err() != nil {
			return
		}
		l.pool.lost(l)
		if grpcstatus.Code(err) == codes.Aborted && l.pool.Deposed != nil {
			l.pool.Deposed()
		}
		var flowed time.Duration
		was := l.disconnect(err, time.Now())
		if was {
			flowed = time.Since(begun)
		}
		pause = again(pause, flowed)
		switch {
		case errors.Is(err, errTooMuch):
			l.refused.Add(1)
			pause = maxDelay // that it reported before makes it no better
			l.log.Warn("agent reports too much: its stream was ended, and its sessions are blind until it is back", "err", brief(err))
		case was || pause == firstDelay:
			l.log.Warn("agent unreachable: its sessions are blind until it is back", "err", brief(err))
		}
		sleep(ctx, pause+rand.N(pause/2))
	}
}

// again is the pause before the next try: from the shortest on after a stream that flowed for
// as long as one that a full uplink ends by its silence, else twice the last one. An agent that
// comes and goes is told of in the log no oftener than that, and has others told as seldom what
// they are to ask it.
func again(last, flowed time.Duration) time.Duration {
	if last == 0 || flowed >= silence {
		return firstDelay
	}
	return min(2*last, maxDelay)
}

// stream holds one until it ends. Its first report is waited for that long (first): longer with each
// try, since two ends that are busy take their time, and would take it again.
func (l *link) stream(ctx context.Context, first time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun, err := l.pool.turn(ctx)
	if err != nil {
		return err
	}
	defer begun()
	dog := watch(first, l.pool.late, func() { cancel(errSilent) })
	defer dog.stop()
	conn, err := l.pool.connect(ctx, l.agent.Addr)
	if err != nil {
		return fmt.Errorf("dial agent %s: %w", l.agent.Addr, err)
	}
	defer conn.close()

	c := newCodec(l.allowed)
	s, err := api.NewAgentClient(conn.calls).Measure(ctx, grpc.ForceCodecV2(c))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // "context canceled" says nothing of an agent that hangs
		}
		return fmt.Errorf("open stream to agent %s: %w", l.agent.Addr, err)
	}
	begun() // the connection stands
	l.out.open(s, cancel)
	err = l.receive(s, func(calm bool) { dog.heard(patience(calm)) })
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if c.refused != nil {
		err = c.refused // gRPC keeps its words alone
	}
	cancel(nil)
	l.out.close()
	if l.state.Load().Connected {
		return fmt.Errorf("agent %s: stream ended: %w", l.agent.Addr, err)
	}
	return fmt.Errorf("stream from agent %s: %w", l.agent.Addr, err)
}

// receive takes in what comes, and calls heard for each report.
func (l *link) receive(s grpc.BidiStreamingClient[api.Assignment, api.Report], heard func(calm bool)) error {
	said := speech{from: l.agent}
	for {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		if node := r.GetNode(); node != "" && node != l.agent.Node {
			return fmt.Errorf("the agent of node %.253q answers there, and not that of %s: its address may have been another's before", node, l.agent.Node)
		}
		heard(r.GetCalm())
		if err := l.pool.receive(&said, r, time.Now()); err != nil {
			return err
		}
		if l.connect(time.Now()) {
			l.log.Info("agent connected")
		}
	}
}
