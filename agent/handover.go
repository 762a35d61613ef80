package agent

import (
	"errors"
	"sync/atomic"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/probe"
)

// handover is what became of the STAMP key of one controller.
type handover struct {
	signing    probe.Secrets  // for the sessions of its stream
	reflecting *probe.Secrets // of the agent's reflector, for all controllers; may be nil
	held       atomic.Bool    // the reflector answers what is signed with it
}

// take takes the key of an assignment, before its sessions begin.
func (h *handover) take(a *api.Assignment) error {
	key := a.GetStampKey()
	if len(key) == 0 {
		h.held.Store(false)
		for _, s := range a.GetSessions() {
			if s.GetAuthenticated() {
				return errors.New("the assignment has authenticated sessions and no key")
			}
		}
		return nil
	}
	if err := h.signing.Take(key); err != nil {
		return err
	}
	if h.reflecting == nil {
		return nil
	}
	if err := h.reflecting.Take(key); err != nil {
		return err
	}
	h.held.Store(true)
	return nil
}
