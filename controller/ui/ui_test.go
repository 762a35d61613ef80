package ui

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/detnet/detnet/controller/status"
)

func request(method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h := Handler(func() *status.Status { return &status.Status{Law: "adaptive", Leader: true} }, nil)
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestStatus(t *testing.T) {
	w := request(http.MethodGet, "/status")
	var got status.Status
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Law != "adaptive" || !got.Leader {
		t.Errorf("GET /status = %s, %v", w.Body, err)
	}
}

func TestStandbyShowsTheLeader(t *testing.T) {
	standby := func() *status.Status { return &status.Status{Replica: "standby"} }
	leads := func(context.Context, status.Query) (*status.Status, error) {
		return &status.Status{Replica: "leader", Leader: true}, nil
	}
	lost := func(context.Context, status.Query) (*status.Status, error) { return nil, errors.New("unreachable") }
	for _, tt := range []struct {
		path   string
		leader Leader
		want   string
	}{
		{"/status", leads, "leader"},
		{"/status?local", leads, "standby"},
		{"/status", lost, "standby"},
		{"/status", nil, "standby"},
	} {
		w := httptest.NewRecorder()
		Handler(standby, tt.leader).ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.path, nil))
		if !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s shows %s, want %s", tt.path, w.Body, tt.want)
		}
	}
}

func TestOnlyReading(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		for _, path := range []string{"/", "/status"} {
			if w := request(method, path); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s = %d, want %d", method, path, w.Code, http.StatusMethodNotAllowed)
			}
		}
	}
	if w := request(http.MethodGet, "/nothing"); w.Code != http.StatusNotFound {
		t.Errorf("GET /nothing = %d", w.Code)
	}
}

// The page must work under its own policy: no inline script or style, nothing
// from another host, and no markup made from data.
func TestPageKeepsItsOwnPolicy(t *testing.T) {
	w := request(http.MethodGet, "/")
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	inline := regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+=|https?://`)
	if found := inline.FindString(w.Body.String()); found != "" {
		t.Errorf("the page has %q", found)
	}
	script := request(http.MethodGet, "/app.js").Body.String()
	if !strings.Contains(script, "textContent") || strings.Contains(script, "innerHTML") {
		t.Error("the script must set text, not markup")
	}
}

// Who asks for a part gets that, also from a standby, and who asks for what can't be is
// told what may be.
func TestPartsOfTheStatus(t *testing.T) {
	full := &status.Status{Leader: true, Senders: []status.Sender{{Pod: "a/x", Node: "n1"}, {Pod: "a/y", Node: "n2"}}}
	var asked status.Query
	leads := func(_ context.Context, q status.Query) (*status.Status, error) {
		asked = q
		return full.Select(q), nil
	}
	for name, h := range map[string]http.Handler{
		"leader":  Handler(func() *status.Status { return full }, nil),
		"standby": Handler(func() *status.Status { return &status.Status{} }, leads),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status?node=n2&limit=5", nil))
		var got status.Status
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Senders) != 1 || got.Senders[0].Pod != "a/y" || got.Totals == nil {
			t.Errorf("%s: %s, %v", name, w.Body, err)
		}
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status?limit=100000", nil))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "from 0 to 1000") {
			t.Errorf("%s: %d, %s", name, w.Code, w.Body)
		}
	}
	if asked != (status.Query{Node: "n2", Limit: 5}) {
		t.Errorf("the leader was asked for %+v", asked)
	}
}
