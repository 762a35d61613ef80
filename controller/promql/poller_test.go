package promql

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var discard = slog.New(slog.DiscardHandler)

func newRegistry() *prometheus.Registry { return prometheus.NewPedanticRegistry() }

// fakeServer answers in virtual time.
type fakeServer struct {
	mu    sync.Mutex
	value string // "" is no data, "down" no server, "silent" no answer
	times map[string]int
}

func (f *fakeServer) set(value string) { f.mu.Lock(); defer f.mu.Unlock(); f.value = value }

// asked is how often a query came.
func (f *fakeServer) asked(query string) int { f.mu.Lock(); defer f.mu.Unlock(); return f.times[query] }

func (f *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	query := r.URL.Query().Get("query")
	f.mu.Lock()
	f.times[query]++
	value := f.value
	f.mu.Unlock()
	time.Sleep(time.Millisecond) // so that whoever asks can look before the answer
	body := vector(value)
	switch {
	case value == "down":
		return nil, errors.New("connection refused")
	case value == "silent":
		<-r.Context().Done()
		return nil, r.Context().Err()
	case value == "":
		body = vector()
	case strings.HasPrefix(query, "time()"):
		body = vector("1")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func TestPoller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{value: "0.002", times: map[string]int{}}
		c := DefaultConfig()
		c.URL = "http://prometheus"
		p := New(c, discard, newRegistry())
		p.client.Transport = server
		ctx, cancel := context.WithCancel(t.Context())
		x, y := parsed(t, "max(x[1m])"), parsed(t, "y")
		p.Ask(ctx, []Wanted{{x, "shop", "app"}, {y, "shop", "app"}, {x, "factory", "app"}})
		if a := p.Answer(x.Text, time.Now()); a.Samples != nil || a.Error == "" || a.Lag != 90*time.Second {
			t.Errorf("before the first answer: %+v", a)
		}
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		pass(12 * time.Second)
		a := p.Answer(x.Text, time.Now())
		if len(a.Samples) != 3 || a.Error != "" || server.asked(x.Text) != 3 {
			t.Errorf("after 12 s: %+v, asked %d times; want 3 samples of 2 ms", a, server.asked(x.Text))
		}

		// What fails is blind at once, whatever was known before.
		for value, says := range map[string]string{"": "no data", "down": "connection refused", "silent": "deadline exceeded", "-3": "is no delay"} {
			server.set(value)
			pass(10 * time.Second)
			if a := p.Answer(x.Text, time.Now()); a.Samples != nil || !strings.Contains(a.Error, says) {
				t.Errorf("server says %q: %+v, want nothing but %q", value, a, says)
			}
		}
		server.set("0.003")
		pass(10 * time.Second)
		if a := p.Answer(x.Text, time.Now()); len(a.Samples) < 4 || a.Samples[len(a.Samples)-1].RTT != 3*time.Millisecond {
			t.Errorf("after recovery: %+v, want what was known before and is not too old, too", a)
		}
		if a := p.Answer(x.Text, time.Now().Add(time.Minute)); a.Samples != nil || !strings.Contains(a.Error, "has not answered for") {
			t.Errorf("a minute after the last answer: %+v", a)
		}

		// Another server's numbers are not compared with this one's.
		c.URL = "http://another"
		p.Set(c)
		if a := p.Answer(x.Text, time.Now()); a.Samples != nil {
			t.Errorf("before the other server answered: %+v", a)
		}
		pass(6 * time.Second)
		if a := p.Answer(x.Text, time.Now()); len(a.Samples) == 0 || len(a.Samples) > 2 {
			t.Errorf("the other server's answers: %+v", a)
		}

		p.Ask(ctx, []Wanted{{x, "shop", "app"}})
		synctest.Wait()
		before := server.asked("y")
		pass(time.Hour)
		if a := p.Answer("y", time.Now()); server.asked("y") != before || a.Error != "" || a.Samples != nil {
			t.Errorf("a query that nobody wants is asked on, and answers %+v", a)
		}
		if a := p.Answer(x.Text, time.Now()); len(a.Samples) > 40 {
			t.Errorf("%d samples are kept of twice 90 s", len(a.Samples))
		}
		if n := testutil.ToFloat64(p.asked.WithLabelValues("no-data")); n == 0 {
			t.Error("queries without data are not counted")
		}
		cancel()
		p.Wait()
	})
}

func TestNobodyIsAskedWithoutAURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(DefaultConfig(), discard, newRegistry())
		p.client.Transport = &fakeServer{value: "down", times: map[string]int{}}
		ctx, cancel := context.WithCancel(t.Context())
		p.Ask(ctx, []Wanted{{parsed(t, "x"), "shop", "app"}})
		synctest.Wait()
		if a := p.Answer("x", time.Now()); !strings.Contains(a.Error, "set prometheus.url") {
			t.Errorf("answer %+v", a)
		}
		cancel()
		p.Wait()
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		says   string
	}{
		{func(c *Config) { c.URL = "https://thanos.monitoring/prefix" }, ""},
		{func(c *Config) { c.URL = "prometheus:9090" }, "url: "},
		{func(c *Config) { c.URL = "ftp://prometheus" }, "url: "},
		{func(c *Config) { c.URL = "http://" }, "url: "},
		{func(c *Config) { c.URL = "http://me:secret@prometheus" }, "url: "},
		{func(c *Config) { c.URL = "http://prometheus?x=y" }, "url: "},
		{func(c *Config) { c.Unit = "ms" }, "unit: \"ms\" must be seconds or milliseconds"},
		{func(c *Config) { c.Interval = 0 }, "interval: 0s must be from 1s to 1m0s"},
		{func(c *Config) { c.Timeout = time.Hour }, "timeout: 1h0m0s must be from 100ms to 30s"},
		{func(c *Config) { c.MaxAge = 30 * time.Second }, "maxAge: 30s must be more than scrapeInterval"},
	} {
		c := DefaultConfig()
		tt.change(&c)
		err := c.Validate()
		if (err == nil) != (tt.says == "") || err != nil && !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("%+v: %v, want %q", c, err, tt.says)
		}
	}
}
