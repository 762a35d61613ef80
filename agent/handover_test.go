package agent

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/probe"
)

var key = []byte("0123456789abcdef")

func stampSession(authenticated bool) *api.Session {
	return &api.Session{Id: "a", Protocol: api.Protocol_PROTOCOL_STAMP, Host: "127.0.0.1", Port: 9, Authenticated: authenticated}
}

// An agent says that its reflector holds the controller's key once it does, and
// not where a file or an absent reflector makes it untrue.
func TestKeyIsHeld(t *testing.T) {
	for name, tt := range map[string]struct {
		reflecting *probe.Secrets
		key        []byte
		want       bool
	}{
		"held":                  {new(probe.Secrets), key, true},
		"older controller":      {new(probe.Secrets), nil, false},
		"none that takes a key": {nil, key, false},
	} {
		t.Run(name, func(t *testing.T) {
			stream := dial(t, &Server{Node: "n1", Probes: true, Reflecting: tt.reflecting})
			if err := stream.Send(&api.Assignment{Sessions: []*api.Session{stampSession(false)}, StampKey: tt.key}); err != nil {
				t.Fatal(err)
			}
			var last *api.Report
			for assigned := false; !assigned; {
				report, err := stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				last, assigned = report, len(report.GetSessions()) > 0
			}
			if last.GetStampKeyHeld() != tt.want {
				t.Errorf("held: %v, want %v", last.GetStampKeyHeld(), tt.want)
			}
		})
	}
}

// What cannot be signed as asked is refused, and not sent unsigned.
func TestBadHandoverIsRefused(t *testing.T) {
	for name, a := range map[string]*api.Assignment{
		"short key": {StampKey: []byte("short")},
		"long key":  {StampKey: make([]byte, 1000)},
		"no key":    {Sessions: []*api.Session{stampSession(true)}},
	} {
		t.Run(name, func(t *testing.T) {
			stream := dial(t, &Server{Node: "n1", Probes: true, Reflecting: new(probe.Secrets)})
			if err := stream.Send(a); err != nil {
				t.Fatal(err)
			}
			for {
				_, err := stream.Recv()
				if err == nil {
					continue
				}
				if status.Code(err) != codes.InvalidArgument {
					t.Errorf("ended by %v, want InvalidArgument", err)
				}
				return
			}
		})
	}
}
