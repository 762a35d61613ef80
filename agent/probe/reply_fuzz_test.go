package probe

import (
	"bytes"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe/stamp"
)

// Whatever comes to a probe's port, from an app or from anybody, is read or refused; and an echo
// without our key is never taken for an answer.
func FuzzReply(f *testing.F) {
	key := [8]byte([]byte("keykey12"))
	extended := Extensions{ClassOfService: true, DirectMeasurement: true}
	formats := []format{
		&echo{key: key, length: echoSize},
		&echo{key: key, header: icmpHeader, typ: icmpEcho, length: icmpHeader + echoSize},
		&echo{key: key, header: icmpHeader, typ: icmpEcho, raw: true, length: icmpHeader + echoSize},
		&stampFormat{length: stamp.Size, wall: time.Now},
		&stampFormat{length: stamp.Size + len(extended.append(nil, 0, nil)), ext: extended, wall: time.Now},
	}
	for i, each := range formats {
		b := make([]byte, each.size())
		each.request(b, 7, 8, 1)
		f.Add(uint8(i), b)
		if each, ok := each.(*echo); ok && each.header > 0 {
			answer := bytes.Clone(b)
			answer[0] = icmpEchoReply
			f.Add(uint8(i), answer)
			f.Add(uint8(i), append([]byte{0x45, 19: 0}, answer...)) // behind an IPv4 header
			continue
		}
		if r, err := stamp.ParseRequest(b, nil, false); err == nil {
			f.Add(uint8(i), stamp.Respond(nil, r, stamp.Arrival{At: 1e18, Counted: true, Rx: 1, Tx: 1}, 0).Packet)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		each := formats[int(which)%len(formats)]
		r, why := each.reply(b)
		_, echoes := each.(*echo)
		if why == None && echoes && !bytes.Contains(b, key[:]) {
			t.Errorf("an answer without our key is taken: %+v", r)
		}
		if number, seq, ok := each.own(b); ok && echoes && number == 0 && seq == 0 && !bytes.Contains(b, []byte("dtnP")) {
			t.Errorf("what is none of ours is taken for it: %x", b)
		}
	})
}
