package agents

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/detnet/detnet/agent/wire"
)

// Bounds of what one agent reports. In full a session of 50 packets a second takes
// some 3,000 octets a second, packed a twentieth of that; 500 pods take 600,000, packed
// 20,000. Decoding a MiB takes some hundredths of a second, and a message within a report
// a few hundred octets of memory, however short it is.
const (
	octetsForPods    = 1 << 20 // a second
	octetsForSession = 4 << 10 // a second
	burst            = 2       // seconds' worth that may come at once: after as long an agent is silent
	reportsEach      = 512     // a second
	reportsAtOnce    = 4096    // more than a flow window has room for: that may have been left lying
	partsForPods     = 4 * wire.MaxPods
	partsForSession  = 4
)

// errTooMuch ends the stream of an agent that reports more than what it is asked for takes.
var errTooMuch = errors.New("it reports too much")

// allowance is what an agent may report. It outlives streams: dialling again gives no more.
type allowance struct {
	octets   *rate.Limiter
	reports  *rate.Limiter
	sessions atomic.Int64
}

func newAllowance() *allowance {
	return &allowance{octets: rate.NewLimiter(octetsForPods, burst*octetsForPods), reports: rate.NewLimiter(reportsEach, reportsAtOnce)}
}

// ask fits the allowance to so many sessions.
func (a *allowance) ask(sessions int) {
	if a.sessions.Swap(int64(sessions)) == int64(sessions) {
		return
	}
	each := octetsForPods + octetsForSession*sessions
	a.octets.SetLimit(rate.Limit(each))
	a.octets.SetBurst(burst * each)
}

// take is an error for a report, as it came over the wire, that is too much.
func (a *allowance) take(raw []byte, now time.Time) error {
	if !a.reports.AllowN(now, 1) {
		return fmt.Errorf("%w: more than %d reports a second, and %d at once", errTooMuch, reportsEach, reportsAtOnce)
	}
	if n := len(raw); !a.octets.AllowN(now, n) {
		return fmt.Errorf("%w: a report of %d octets, where %.0f a second and twice that at once are taken for %d sessions and the node's pods", errTooMuch, len(raw), float64(a.octets.Limit()), a.sessions.Load())
	}
	if most := partsForPods + partsForSession*int(a.sessions.Load()); parts(raw, most) > most {
		return fmt.Errorf("%w: a report about more than %d sessions, pods and windows", errTooMuch, most)
	}
	return nil
}

// parts counts the messages in a report, up to one more than most. What is no message
// at all, decoding tells.
func parts(raw []byte, most int) (n int) {
	for len(raw) > 0 && n <= most {
		_, kind, size := protowire.ConsumeField(raw)
		if size < 0 {
			break
		}
		if kind == protowire.BytesType {
			n++
		}
		raw = raw[size:]
	}
	return n
}

// codec is gRPC's own, but for one stream, and refuses a report before it is decoded.
type codec struct {
	encoding.CodecV2
	allowed *allowance
	refused error // why; who receives reads it
}

func newCodec(allowed *allowance) *codec {
	return &codec{CodecV2: encoding.GetCodecV2(protocodec.Name), allowed: allowed}
}

// Unmarshal implements encoding.CodecV2.
func (c *codec) Unmarshal(data mem.BufferSlice, v any) error {
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	if c.refused = c.allowed.take(whole.ReadOnlyData(), time.Now()); c.refused != nil {
		return c.refused
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{whole}, v)
}
