package probe

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/probe/stamp"
)

// stampFormat is the format of STAMP's session-sender. The session's number is
// the SSID, so one port serves all sessions.
type stampFormat struct {
	keys *Keyring // nil: unauthenticated
	ext  Extensions
	// extra is what the extensions add to a packet.
	extra int
	now   []*stamp.Key
	wall  func() time.Time
}

// clockError is what is announced of this host's clock: nothing is known of
// it, and nothing that is measured here depends on it.
var clockError = stamp.Estimate(1<<32/1000, false, false) // 1 ms

func (s *Sender) newSTAMP(k kind) (prober, error) {
	f := &stampFormat{keys: s.keys, ext: s.extensions, wall: time.Now}
	var key *stamp.Key
	if s.keys != nil {
		key = s.keys.Keys(time.Now())[0]
	}
	f.extra = len(f.ext.append(nil, 0, key))
	d, err := newDatagram(s, f, k.ipv6, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err != nil {
		return nil, err
	}
	d.checked = s.keys == nil
	if s.extensions.ClassOfService {
		receiveTOS(d.fd)
	}
	return d, nil
}

func (f *stampFormat) size() int {
	if f.keys != nil {
		return stamp.AuthSize + f.extra
	}
	return stamp.Size + f.extra
}

func (f *stampFormat) request(b []byte, number uint16, seq uint32) {
	t := stamp.Test{Seq: seq, Error: clockError, SSID: number}
	now := f.wall()
	t.At = clockError.In(now.UnixNano())
	var key *stamp.Key
	if f.keys != nil {
		f.now = f.keys.Keys(now)
		key = f.now[0]
	}
	f.ext.append(t.AppendMarshal(b[:0], key), seq, key)
}

func (f *stampFormat) reply(b []byte) (reply, error) {
	r, rest, err := stamp.ParseReflected(b, f.now)
	switch {
	case stamp.IsAuth(err), err == nil && f.ext.any() && !stamp.Intact(b, rest, f.now):
		return reply{}, errForged
	case err != nil:
		return reply{}, errMalformed
	}
	out := reply{number: r.SSID, seq: r.SenderSeq}
	if r.Received != 0 && r.At != 0 {
		out.far, out.farReply = r.Received.Unix(r.Error), r.At.Unix(r.Error)
	}
	if f.ext.any() {
		out.heard = hear(rest)
	}
	return out, nil
}

func (f *stampFormat) own(b []byte) (uint16, uint32, bool) {
	ssid := 14
	if f.keys != nil {
		ssid = 26
	}
	if len(b) < ssid+2 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(b[ssid:]), binary.BigEndian.Uint32(b), true
}
