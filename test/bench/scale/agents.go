package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/proto"

	"github.com/detnet/detnet/agent"
	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/wire"
)

const (
	probePort, nodePort = 9443, 9447
	sampleEvery         = 20 * time.Millisecond
	path                = 200 * time.Microsecond // round trip of the empty path
)

// fleet answers for the agents of all nodes.
type fleet struct {
	api.UnimplementedAgentServer
	nodes []*node
	byApp map[string]*node // by the address of the critical pod, and of the agent
	takes bool             // limits over the stream

	streams, reports, octets atomic.Int64
	measured                 atomic.Int64 // octets of the reports of sessions
	mu                       sync.Mutex
	terms                    map[uint64]time.Time // when the first word of each leader's came
	told                     map[uint64]map[int]time.Time
	samplers                 map[*sampler]bool
	births                   births
}

// serve listens on every address of the loopback, until ctx ends.
func (f *fleet) serve(ctx context.Context, config *tls.Config) error {
	g := grpc.NewServer(append(agent.Bounds(), grpc.Creds(credentials.NewTLS(config)), grpc.StatsHandler(counter{&f.octets}))...)
	api.RegisterAgentServer(g, f)
	for _, port := range []int{probePort, nodePort} {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			return fmt.Errorf("listen for the agents: %w", err)
		}
		go func() { _ = g.Serve(listener) }() // ends with ctx
	}
	context.AfterFunc(ctx, g.Stop)
	go f.run(ctx)
	return nil
}

// run moves the queues and has the probes sent.
func (f *fleet) run(ctx context.Context) {
	const step = 5 * time.Millisecond
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	last, sampled := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		for left := now.Sub(last); left > 0; left -= step { // a busy machine may be late
			for _, n := range f.nodes {
				n.step(now, min(step, left))
			}
		}
		last = now
		if now.Sub(sampled) >= sampleEvery {
			sampled = now
			f.sample(now)
		}
	}
}

func (f *fleet) sample(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.samplers {
		s.sample(f, now)
	}
}

// Measure implements api.AgentServer. The address that was dialled says whose
// agent it is.
func (f *fleet) Measure(stream grpc.BidiStreamingServer[api.Assignment, api.Report]) error {
	p, _ := peer.FromContext(stream.Context())
	host, port, _ := net.SplitHostPort(p.LocalAddr.String())
	here := f.byApp[host]
	if here == nil {
		return fmt.Errorf("no node has the address %s", host)
	}
	f.streams.Add(1)
	defer f.streams.Add(-1)
	role := api.Role_ROLE_NODE
	if port == fmt.Sprint(probePort) {
		role = api.Role_ROLE_PROBE
	}
	s := &sampler{node: here, ready: make(chan struct{}, 1)}
	f.mu.Lock()
	f.samplers[s] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.samplers, s)
		f.mu.Unlock()
	}()
	failed := make(chan error, 1)
	go func() { failed <- f.receive(stream, s) }()
	ticker := time.NewTicker(agent.ReportEvery)
	defer ticker.Stop()
	out := outbox{role: role}
	for {
		urgent := false
		select {
		case err := <-failed:
			return err
		case <-stream.Context().Done():
			return nil
		case <-s.ready:
			urgent = true
		case <-ticker.C:
		}
		report := out.next(f, s, urgent, time.Now())
		if report == nil {
			continue
		}
		if err := stream.Send(report); err != nil {
			return err
		}
		f.reports.Add(1)
		if role == api.Role_ROLE_PROBE {
			f.measured.Add(int64(proto.Size(report)) + grpcHeader)
		}
	}
}

func (f *fleet) receive(stream grpc.BidiStreamingServer[api.Assignment, api.Report], s *sampler) error {
	for {
		a, err := stream.Recv()
		if err != nil {
			return err
		}
		s.assign(a)
		if l := a.GetLimits(); l != nil {
			now := time.Now()
			f.heard(l.GetTerm(), s.node.index, now)
			f.births.note(l, now)
			if err := s.node.said(l, now); err != nil {
				return err
			}
		}
	}
}

// grpcHeader is what each message has besides.
const grpcHeader = 5

// sessions counts those that are assigned.
func (f *fleet) sessions() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.samplers {
		s.mu.Lock()
		n += len(s.sessions)
		s.mu.Unlock()
	}
	return n
}

// heard notes the first words of a leader.
func (f *fleet) heard(term uint64, node int, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told[term] == nil {
		f.told[term], f.terms[term] = map[int]time.Time{}, now
	}
	if _, before := f.told[term][node]; !before {
		f.told[term][node] = now
	}
}

// sampler is the sessions of one stream.
type sampler struct {
	node  *node
	ready chan struct{}

	mu       sync.Mutex
	packed   bool
	calm     time.Duration // between reports while all is calm
	least    time.Duration // between any two
	stirred  bool          // and it is not
	sessions []*api.Session
	samples  [][]sample
	late     []uint8
	armed    []bool
	hurry    time.Time // until then it reports each time
}

type sample struct {
	at          time.Time
	there, back time.Duration
}

func (s *sampler) assign(a *api.Assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packed, s.calm = a.GetPacked(), time.Duration(a.GetCalmReportMs())*time.Millisecond
	s.least = time.Duration(a.GetLeastReportMs()) * time.Millisecond
	sessions := a.GetSessions()
	if slices.EqualFunc(sessions, s.sessions, func(a, b *api.Session) bool { return a.GetId() == b.GetId() }) {
		s.sessions = sessions
		return
	}
	s.sessions, s.samples = sessions, make([][]sample, len(sessions))
	s.late, s.armed = make([]uint8, len(sessions)), make([]bool, len(sessions))
}

// sample sends one probe of each session, and says so when three of four are late.
func (s *sampler) sample(f *fleet, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) == 0 {
		return
	}
	here := s.node.delay()
	for i, session := range s.sessions {
		back := time.Duration(0)
		if far := f.byApp[session.GetHost()]; far != nil {
			back = far.delay()
		}
		noise := time.Duration(rand.ExpFloat64() * float64(30*time.Microsecond))
		s.samples[i] = append(s.samples[i], sample{now, path/2 + noise/2 + here, path/2 + noise/2 + back})
		allowed := time.Duration(session.GetLateAboveUs()) * time.Microsecond
		s.late[i] = s.late[i] << 1 & 15
		if allowed > 0 && here+back+noise > allowed {
			s.late[i] |= 1
		}
		s.stirred = s.stirred || allowed > 0 && here+back+noise > allowed/4
		switch {
		case s.late[i] == 0:
			s.armed[i] = true
		case s.armed[i] && threeOf[s.late[i]]:
			s.armed[i], s.hurry = false, now.Add(time.Second)
		}
	}
	if now.Before(s.hurry) {
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
}

var threeOf = [16]bool{7: true, 11: true, 13: true, 14: true, 15: true}

// drain has a report say what was measured since the last one.
func (s *sampler) drain(report *api.Report, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, session := range s.sessions {
		oneWay := session.GetProtocol() == api.Protocol_PROTOCOL_STAMP
		if s.packed {
			samples := make([]wire.Sample, len(s.samples[i]))
			for k, p := range s.samples[i] {
				samples[k] = wire.Sample{Age: now.Sub(p.at), RTT: p.there + p.back, HasOneWay: oneWay, Forward: p.there + clocks, Backward: p.back - clocks}
			}
			r := &api.PackedSession{Number: session.GetNumber()}
			wire.Pack(r, samples)
			s.samples[i], report.Packed = s.samples[i][:0], append(report.Packed, r)
			continue
		}
		r := &api.SessionReport{Id: session.GetId(), Timestamps: api.TimestampSource_TIMESTAMP_SOURCE_KERNEL}
		for _, p := range s.samples[i] {
			r.AgeNs = append(r.AgeNs, int64(now.Sub(p.at)))
			r.RttNs = append(r.RttNs, int64(p.there+p.back))
			if oneWay {
				r.ForwardNs, r.BackwardNs = append(r.ForwardNs, int64(p.there+clocks)), append(r.BackwardNs, int64(p.back-clocks))
			}
		}
		s.samples[i], report.Sessions = s.samples[i][:0], append(report.Sessions, r)
	}
	s.stirred = false
}

// asked is how reports are wanted, and whether something is worth telling now.
func (s *sampler) asked() (calm, least time.Duration, packed, stirred bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calm, s.least, s.packed, s.stirred
}

// settled is the agent's.
const settled = time.Second

// clocks is the difference between the clocks of two nodes.
const clocks = 1234567890 * time.Microsecond

// outbox is what one stream has to say.
type outbox struct {
	role  api.Role
	names wire.Names
	rates []wire.Rate
	last  time.Time
	stir  time.Time // there was something to tell
	since time.Time // the first report

	hurried time.Time // a report came before its time
}

// next is the report that is due now; nil: none.
func (o *outbox) next(f *fleet, s *sampler, urgent bool, now time.Time) *api.Report {
	calm, least, packed, stirred := s.asked()
	if o.role == api.Role_ROLE_NODE {
		o.rates = append(o.rates, s.node.rates(f.takes)...)
		stirred = stirred || !packed || o.names.News(o.rates, capacity/20)
	}
	rests := now.Sub(o.stir) >= settled
	if stirred || urgent {
		o.stir = now
	}
	switch ago := now.Sub(o.last); {
	case urgent && now.Sub(o.hurried) >= least:
		o.hurried = now
	case rests && stirred: // as the agent does
		urgent = false
	case ago < least-agent.ReportEvery/2, now.Sub(o.stir) >= settled && ago < calm-agent.ReportEvery/2:
		return nil
	default:
		urgent = false
	}
	if o.since.IsZero() {
		o.since = now
	}
	report := &api.Report{Role: o.role, Urgent: urgent, Calm: calm > 0 && now.Sub(o.stir) >= settled, SentUs: uint64(now.Sub(o.since).Microseconds()) + 1}
	if !packed || o.last.IsZero() {
		report.Node = nodeName(s.node.index)
	}
	o.last = now
	if o.role != api.Role_ROLE_NODE {
		report.StampKeyHeld = true
		s.drain(report, now)
		return report
	}
	report.TakesLimits = f.takes
	if packed {
		o.names.Pack(report, o.rates, now)
	} else {
		report.Pods = inFull(o.rates)
	}
	o.rates = o.rates[:0]
	return report
}

// counter counts octets on the wire.
type counter struct{ octets *atomic.Int64 }

func (counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (counter) HandleConn(context.Context, stats.ConnStats)                       {}
func (c counter) HandleRPC(_ context.Context, s stats.RPCStats) {
	switch p := s.(type) {
	case *stats.InPayload:
		c.octets.Add(int64(p.WireLength))
	case *stats.OutPayload:
		c.octets.Add(int64(p.WireLength))
	}
}
