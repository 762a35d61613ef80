package load

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
)

func TestParse(t *testing.T) {
	want := Load{Kind: UDP, To: "10.0.0.1:5001", Rate: 150 * bitrate.Mbit, On: time.Second, Off: time.Second, For: time.Minute}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Parse(data); err != nil || got != want {
		t.Errorf("Parse(%s) = %+v, %v", data, got, err)
	}
	for name, bad := range map[string]Load{
		"kind":      {Kind: "sctp", Conns: 1, For: time.Second},
		"conns":     {Kind: TCP, For: time.Second},
		"rate":      {Kind: UDP, For: time.Second},
		"unbounded": {Kind: TCP, Conns: 1},
		"on only":   {Kind: TCP, Conns: 1, For: time.Second, On: time.Second},
	} {
		data, _ := json.Marshal(bad)
		if got, err := Parse(data); err == nil {
			t.Errorf("%s: Parse(%s) = %+v, want an error", name, data, got)
		}
	}
}
