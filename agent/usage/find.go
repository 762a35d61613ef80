package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	"github.com/detnet/detnet/agent/locate"
	"github.com/detnet/detnet/agent/pods"
)

// Endpoints tells the name of a pod's host-side interface where the kernel's
// tables do not. *locate.Endpoints does.
type Endpoints interface {
	Interface(ctx context.Context, namespace, name, uid string) (string, error)
}

// finder finds pods' host-side interfaces without holding up the measurement:
// the kernel is asked at once, Endpoints in the background.
type finder struct {
	handle    *netlink.Handle
	endpoints Endpoints // may be nil
	asking    errgroup.Group
	log       *slog.Logger
}

// search is what has been done to find one pod's interface.
type search struct {
	failures int
	notUntil time.Time
	answer   chan answer // on its way from Endpoints; nil: not asked
}

type answer struct {
	name string
	err  error
}

const (
	// asksAtOnce bounds the questions that are open at a time: a node that
	// starts has all its pods to find.
	asksAtOnce = 4
	// askTimeout bounds one question.
	askTimeout = 5 * time.Second
	// lookEvery and askEvery bound the pauses between attempts, which double. A
	// bridge may learn late of a pod that nobody has talked to; an API server
	// must not be asked often about what will not come.
	lookEvery = 2 * time.Second
	askEvery  = time.Minute
	// reportAfter is the number of failures that are worth a word in the log.
	reportAfter = 8
)

func newFinder(handle *netlink.Handle, endpoints Endpoints, log *slog.Logger) *finder {
	f := &finder{handle: handle, endpoints: endpoints, log: log}
	f.asking.SetLimit(asksAtOnce)
	return f
}

func (f *finder) close() {
	_ = f.asking.Wait() // none returns an error
	f.handle.Close()
}

// errLater says that an answer is on its way.
var errLater = errors.New("the answer is on its way")

// interfaceOf returns the index of the pod's interface, or false: not known
// now, ask again in the next window.
func (f *finder) interfaceOf(ctx context.Context, p pods.Pod, s *search, now time.Time) (int, bool) {
	if now.Before(s.notUntil) {
		return 0, false
	}
	index, err := f.look(ctx, p, s)
	switch {
	case err == nil:
		*s = search{}
		return index, true
	case errors.Is(err, errLater):
		return 0, false
	}
	longest := lookEvery
	if errors.Is(err, locate.ErrCilium) {
		longest = askEvery
	}
	s.failures++
	s.notUntil = now.Add(min(Window<<min(s.failures, 16), longest))
	if s.failures == reportAfter {
		f.log.Warn("no host-side interface found for the pod; its rate is unknown",
			"namespace", p.Namespace, "pod", p.Name, "err", err)
	}
	return 0, false
}

// look asks the kernel, and then, where it is Cilium who knows, Endpoints.
func (f *finder) look(ctx context.Context, p pods.Pod, s *search) (int, error) {
	if s.answer != nil {
		return f.answered(s)
	}
	index, err := locate.Pod(f.handle, p.IPs)
	if err == nil || f.endpoints == nil || !errors.Is(err, locate.ErrCilium) {
		return index, err
	}
	reply := make(chan answer, 1)
	if f.asking.TryGo(func() error {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		name, err := f.endpoints.Interface(ctx, p.Namespace, p.Name, p.UID)
		reply <- answer{name, err}
		return nil
	}) {
		s.answer = reply
	}
	return 0, errLater
}

// inner is the pod's own end of an interface where that counts, nil where the host's does; false: that is not known.
func (f *finder) inner(index int) (*inner, bool) {
	link, err := f.handle.LinkByIndex(index)
	if err != nil {
		return nil, false
	}
	return innerOf(link)
}

// answered takes the answer if it has come. A name that no interface has is
// worth no more than none.
func (f *finder) answered(s *search) (int, error) {
	var got answer
	select {
	case got = <-s.answer:
		s.answer = nil
	default:
		return 0, errLater
	}
	if got.err != nil {
		return 0, fmt.Errorf("%w: %w", locate.ErrCilium, got.err)
	}
	link, err := f.handle.LinkByName(got.name)
	if err != nil {
		return 0, fmt.Errorf("%w: look up interface %s: %w", locate.ErrCilium, got.name, err)
	}
	return link.Attrs().Index, nil
}
