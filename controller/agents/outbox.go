package agents

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/detnet/detnet/agent/api"
)

// outbox sends the newest assignment of one agent over the stream that is open. It has a
// goroutine only while there is something to send: there are thousands of streams, and
// little is said on each.
type outbox struct {
	mu      sync.Mutex
	next    *api.Assignment // newest that was not sent; nil: it was
	current *api.Assignment // last one sent, which a new stream begins with
	stream  sends           // nil: none is open
	failed  func(error)
	busy    bool // next is being taken care of
	sending sync.WaitGroup
}

// sends is the part of a stream that sends.
type sends interface{ Send(*api.Assignment) error }

// put replaces an assignment that was not sent yet. It does not wait.
func (o *outbox) put(a *api.Assignment) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next = a
	o.start()
}

// open begins a stream with the newest assignment. Failed is told why the stream can't
// send, other than that it has ended.
func (o *outbox) open(stream sends, failed func(error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next == nil {
		o.next = o.current
	}
	o.stream, o.failed = stream, failed
	o.start()
}

// close returns when nothing is sent over the stream any more; it must have ended.
func (o *outbox) close() {
	o.mu.Lock()
	o.stream = nil
	o.mu.Unlock()
	o.sending.Wait()
}

// start has somebody send what there is. The lock is held.
func (o *outbox) start() {
	if o.stream != nil && o.next != nil && !o.busy {
		o.busy = true
		o.sending.Go(o.send)
	}
}

func (o *outbox) send() {
	for {
		o.mu.Lock()
		stream, failed := o.stream, o.failed
		if stream == nil || o.next == nil {
			o.busy = false
			o.mu.Unlock()
			return
		}
		o.current, o.next = o.next, nil
		a := o.current
		o.mu.Unlock()
		if err := stream.Send(a); err != nil {
			o.mu.Lock()
			o.stream, o.busy = nil, false
			o.mu.Unlock()
			if !errors.Is(err, io.EOF) { // else the stream has ended: who receives learns why
				failed(fmt.Errorf("send assignment: %w", err))
			}
			return
		}
	}
}
