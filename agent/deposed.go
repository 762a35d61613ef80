package agent

import (
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/limits"
)

// limit takes the limits of an assignment and notes the term of the leader that
// sent them.
func (s *Server) limit(said *api.Limits, term *atomic.Uint64) error {
	if said == nil {
		return nil
	}
	if s.Limits == nil {
		return status.Errorf(codes.FailedPrecondition, "agent on %s enforces no limits: start it with --enforce=tc", s.Node)
	}
	if err := s.Limits.Take(said, time.Now()); err != nil {
		return s.refusal(err)
	}
	term.Store(said.GetTerm())
	return nil
}

// leads is an error once a newer leader has spoken than the one of this stream.
func (s *Server) leads(term uint64) error {
	if term == 0 {
		return nil // it decides nothing
	}
	if err := s.Limits.Alive(term, time.Now()); err != nil {
		return s.refusal(err)
	}
	return nil
}

func (s *Server) refusal(err error) error {
	code := codes.InvalidArgument
	if errors.Is(err, limits.ErrDeposed) {
		code = codes.Aborted
	}
	return status.Errorf(code, "agent on %s: %v", s.Node, err)
}
