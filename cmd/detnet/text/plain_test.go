package text

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/detnet/detnet/controller/status"
)

// What tenants and nodes have a part in steers nobody's terminal: neither by control sequences,
// of either width, nor by turning the direction of what is read.
func TestPlain(t *testing.T) {
	var out bytes.Buffer
	w := Plain(&out)
	if _, err := fmt.Fprintf(w, "a\tb → é\n%s", "\x1b[2J\x9b2J\u009b1m\r\x07\x7f\u202eolleh\u2066"); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if !strings.HasPrefix(got, "a\tb → é\n") || !strings.Contains(got, "olleh") {
		t.Errorf("%q is not what was written", got)
	}
	if strings.ContainsAny(got, "\x1b\r\x07\x7f\u009b\u202e\u2066") || bytes.Contains(out.Bytes(), []byte{'J', 0x9b}) {
		t.Errorf("%q steers a terminal", got)
	}
	out.Reset()
	s := &status.Status{Leader: true, Agents: []status.Agent{{Pod: "detnet/a", Node: "n1", Role: "probe", Why: "\x1b]0;owned\x07"}}}
	if err := Top(w, s); err != nil || strings.Contains(out.String(), "\x1b") || !strings.Contains(out.String(), "owned") {
		t.Errorf("%v: %q", err, out.String())
	}
}
