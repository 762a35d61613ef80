package live

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/live/bundletest"
)

// shelf serves one bundle.
type shelf struct {
	mu      sync.Mutex
	content []byte
	etag    string
}

func (s *shelf) put(content []byte, etag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content, s.etag = content, etag
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("If-None-Match") == s.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("ETag", s.etag)
	_, _ = w.Write(s.content)
}

const everyoneStandard = "package detnet.site\n\nclass := \"standard\"\n"

// serve serves a shelf, of which a Bundle is read whose signer is returned.
func (s *shelf) serve(t *testing.T) (bundletest.Signer, *Bundle) {
	t.Helper()
	ours := bundletest.NewSigner(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	b, err := NewBundle(server.URL, ours.Public, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	return ours, b
}

// follow follows a bundle until the test ends, and gives why the first sets were refused.
func follow(t *testing.T, b *Bundle, active *Active) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	refused, done := make(chan error, 10), make(chan error)
	go func() {
		done <- b.Follow(ctx, time.Millisecond, active, quiet, func(err error) {
			select {
			case refused <- err:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return refused
}

func TestBundle(t *testing.T) {
	theirs, shelf := bundletest.NewSigner(t), &shelf{}
	ours, b := shelf.serve(t)
	shelf.put(ours.Sign(t, everyoneStandard, map[string]any{"defaults": map[string]any{"unlabelled": "high"}}), `"1"`)
	set, err := b.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := mustDecide(t, mustLoad(t, set), podInput(t, nil)); d.Class != "standard" {
		t.Errorf("class %q", d.Class)
	}
	if _, err := b.Fetch(t.Context()); !errors.Is(err, errNotModified) {
		t.Errorf("second fetch: %v", err)
	}
	shelf.put(theirs.Sign(t, everyoneStandard, nil), `"2"`)
	if set, err := b.Fetch(t.Context()); !errors.Is(err, policies.ErrPolicy) {
		t.Errorf("signed by somebody else: %v, %v", set, err)
	}
	shelf.put([]byte("nonsense"), `"3"`)
	if set, err := b.Fetch(t.Context()); !errors.Is(err, policies.ErrPolicy) {
		t.Errorf("no bundle: %v, %v", set, err)
	}
}

// What is too large is refused for that, packed and unpacked, before anything is kept of it.
func TestBundleTooLarge(t *testing.T) {
	shelf := &shelf{}
	_, b := shelf.serve(t)
	var bomb bytes.Buffer
	packed := gzip.NewWriter(&bomb)
	if _, err := packed.Write(make([]byte, maxUnpacked+1)); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	for want, content := range map[string][]byte{"more than 4 MiB": make([]byte, maxBundle+1), "more than 16 MiB when unpacked": bomb.Bytes(), "no .tar.gz": []byte("x")} {
		shelf.put(content, want)
		if _, err := b.Fetch(t.Context()); !errors.Is(err, policies.ErrPolicy) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want that it has %s", err, want)
		}
	}
}

func TestBundleFollow(t *testing.T) {
	shelf := &shelf{}
	ours, b := shelf.serve(t)
	shelf.put([]byte("nonsense"), `"1"`)
	active := NewActive(mustLoad(t, nil), time.Now(), prometheus.NewRegistry())
	before := active.Status().Hash
	if err := <-follow(t, b, active); err == nil || active.Status().Hash != before {
		t.Error("nonsense took effect")
	}
	shelf.put(ours.Sign(t, everyoneStandard, nil), `"2"`)
	await.Until(t, "the good bundle takes effect", func() bool { return active.Status().Hash != before })
}

// endless is a set whose evaluation is ended: it took too long.
const endless = `package detnet.site

class := "standard" if {
	some i in numbers.range(1, 2000)
	some j in numbers.range(1, 2000)
	some k in numbers.range(1, 2000)
	i + j + k == 0
}
`

// What took too long may be good: on a machine that stood still any set takes too long. So it is
// tried again, by who starts with the bundle and by who follows it.
func TestBundleThatTookTooLong(t *testing.T) {
	shelf := &shelf{}
	ours, b := shelf.serve(t)
	shelf.put(ours.Sign(t, endless, nil), `"1"`)
	start, err := b.Start(t.Context(), true, quiet)
	if err != nil || start.Instead != defaultSet || !errors.Is(start.Why, policies.ErrSlow) {
		t.Fatalf("%q because of %v, %v", start.Instead, start.Why, err)
	}
	refused := follow(t, b, NewActive(start.Engine, time.Now(), prometheus.NewRegistry()))
	for range 2 {
		if err := <-refused; !errors.Is(err, policies.ErrSlow) {
			t.Errorf("refused for %v", err)
		}
	}
}

func TestBundleKeys(t *testing.T) {
	for _, bad := range []string{"", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := NewBundle("http://127.0.0.1", []byte(bad), http.DefaultClient); err == nil {
			t.Errorf("key %q is taken", bad)
		}
	}
}
