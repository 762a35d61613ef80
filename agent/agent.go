// Package agent serves the gRPC contract of agent/api: a controller says over
// one stream what to probe, and every 100 ms, less often while all is calm, gets what was measured.
package agent

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/limits"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/uplink"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/workload"
)

// ReportEvery is the time between two reports on a stream.
const ReportEvery = 100 * time.Millisecond

// maxStreams bounds how many controllers may hold sessions here: the leader,
// the one that was, and someone who looks on.
const maxStreams = 8

// Meter gives the rates of the node's pods. *usage.Meter is one.
type Meter interface {
	Since(cursor uint64) ([]usage.Rate, uint64)
	Next() <-chan struct{} // closed when there is more
}

// Server implements api.AgentServer. The zero Meter and a false Probes leave
// that part of the reports empty.
type Server struct {
	api.UnimplementedAgentServer

	Node   string
	Role   api.Role
	Probes bool  // sessions may be assigned (role probe)
	Meter  Meter // nil in role probe
	// Keys opens the secrets of STAMP's authenticated mode for one stream; nil
	// means unauthenticated.
	Keys func() (*probe.Keyring, error)
	// Reflecting takes the keys that controllers hand over to the agent's
	// reflector; nil: there is none, or it has keys of its own.
	Reflecting *probe.Secrets
	// Limits takes what the leader decided about the node's pods; nil where nothing
	// is enforced.
	Limits  *limits.Ledger
	Uplinks *uplink.Watch // nil in role probe
	FIN     bool          // TCP's connections end with a FIN, not with a reset
	Metrics *Metrics
	Alive   *alive.Watch // of what hangs; may be nil
	Log     *slog.Logger

	streams *semaphore.Weighted
}

// Register adds the server to g.
func (s *Server) Register(g grpc.ServiceRegistrar) {
	s.streams = semaphore.NewWeighted(maxStreams)
	api.RegisterAgentServer(g, s)
}

// Measure implements api.AgentServer. Each stream has sessions of its own,
// which end with it.
func (s *Server) Measure(stream grpc.BidiStreamingServer[api.Assignment, api.Report]) error {
	if !s.streams.TryAcquire(1) {
		return status.Errorf(codes.ResourceExhausted, "agent on %s already serves %d streams", s.Node, maxStreams)
	}
	defer s.streams.Release(1)
	ctx, cancel := context.WithCancel(stream.Context())
	handed := handover{reflecting: s.Reflecting}
	opts := probe.Options{FIN: s.FIN, Handed: &handed.signing}
	if s.Keys != nil {
		keys, err := s.Keys()
		if err != nil {
			cancel()
			return status.Errorf(codes.FailedPrecondition, "agent on %s: %v", s.Node, err)
		}
		opts.Keys = keys
	}
	opts.Turns = s.Alive.Part("sessions of a controller", alive.Patience)
	defer opts.Turns.Leave()
	sender := probe.NewSender(opts)
	var running errgroup.Group
	running.Go(func() error { return sender.Run(ctx) })
	s.Metrics.add(sender)
	defer func() {
		cancel()
		if err := running.Wait(); err != nil {
			s.Log.Error("sessions of a controller ended early", "err", err)
		}
		s.Metrics.remove(sender)
	}()
	received := make(chan error, 1)
	r := &reporter{Server: s, sender: sender, handed: &handed}
	go func() { received <- s.receive(stream, r) }() // ends when the stream does, just after this call
	return r.report(stream, received)
}

// receive takes assignments until the controller ends the stream.
func (s *Server) receive(stream grpc.BidiStreamingServer[api.Assignment, api.Report], r *reporter) error {
	turns := s.Alive.Part("assignments of a controller", alive.Patience)
	defer turns.Leave()
	for {
		assignment, err := stream.Recv()
		if err != nil {
			return err
		}
		if len(assignment.GetSessions()) > 0 && !s.Probes {
			return status.Errorf(codes.FailedPrecondition, "agent on %s has role %v and runs no sessions", s.Node, s.Role)
		}
		if err := r.handed.take(assignment); err != nil {
			return status.Errorf(codes.InvalidArgument, "agent on %s: %v", s.Node, err)
		}
		if err := s.limit(assignment.GetLimits(), &r.term); err != nil {
			return err
		}
		r.take(assignment)
		specs := make([]probe.Session, len(assignment.GetSessions()))
		for i, each := range assignment.GetSessions() {
			specs[i] = sessionOf(each)
		}
		turns.Begin()
		err = r.sender.Assign(specs)
		turns.End()
		if err != nil {
			s.Log.Warn("sessions of the assignment cannot run", "err", err)
		}
	}
}

var protocols = map[api.Protocol]workload.Protocol{
	api.Protocol_PROTOCOL_STAMP: workload.STAMP,
	api.Protocol_PROTOCOL_UDP:   workload.UDP,
	api.Protocol_PROTOCOL_TCP:   workload.TCP,
	api.Protocol_PROTOCOL_ICMP:  workload.ICMP,
}

func sessionOf(s *api.Session) probe.Session {
	return probe.Session{
		ID:       s.GetId(),
		Protocol: protocols[s.GetProtocol()],
		Host:     s.GetHost(),
		Port:     uint16(min(s.GetPort(), 1<<16-1)),
		DSCP:     uint8(min(s.GetDscp(), 255)),
		Interval: time.Duration(s.GetMeanIntervalUs()) * time.Microsecond,
		Timeout:  time.Duration(s.GetTimeoutUs()) * time.Microsecond,

		Number:        s.GetNumber(),
		Authenticated: s.GetAuthenticated(),
		Late:          probe.Late{Above: time.Duration(s.GetLateAboveUs()) * time.Microsecond, RTT: time.Duration(s.GetLateRttUs()) * time.Microsecond},
		NodeSession:   s.GetNodeSession(),
	}
}
