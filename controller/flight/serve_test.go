package flight

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/sense"
)

// short is a small recording.
func short(t testing.TB) *Recorder {
	t.Helper()
	l, err := law.New(law.Adaptive, law.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	r := &Recorder{}
	r.Begin("v1", law.Adaptive, law.DefaultConfig())
	m := newMovie(time.Second)
	var state law.State
	for now := every; now <= time.Second; now += every {
		o := m.at(now)
		o.Apps, o.Senders = o.Apps[:1], o.Senders[:1]
		for i := range o.Apps[0].Sessions {
			seen := &o.Apps[0].Sessions[i].Samples
			*seen = (*seen)[len(*seen)-20:]
		}
		o.Senders[0].Rates = o.Senders[0].Rates[len(o.Senders[0].Rates)-4:]
		state, _ = Law{l, r}.Step(state, sense.Judge(sense.DefaultConfig(), o))
	}
	return r
}

func get(h http.Handler, accept string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "/recording", nil)
	req.Header.Set("Accept-Encoding", accept)
	h.ServeHTTP(w, req)
	return w
}

func TestServe(t *testing.T) {
	r := short(t)
	var want bytes.Buffer
	if _, err := r.WriteTo(&want); err != nil {
		t.Fatal(err)
	}
	if w := get(r, ""); w.Code != http.StatusOK || w.Body.String() != want.String() {
		t.Errorf("%d with %d octets, want the recording of %d", w.Code, w.Body.Len(), want.Len())
	}
	w := get(r, "gzip, deflate")
	if w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len() > want.Len()/2 {
		t.Errorf("%d octets with encoding %q, want them compressed", w.Body.Len(), w.Header().Get("Content-Encoding"))
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != want.String() {
		t.Errorf("decompressed: %d octets, %v", len(got), err)
	}
	if w := get(&Recorder{}, ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "another replica leads") {
		t.Errorf("an empty recorder answers %d %s", w.Code, w.Body)
	}
	if w := get(&Recorder{missed: 3}, ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "3 steps") {
		t.Errorf("a recorder that is too small answers %d %s", w.Code, w.Body)
	}
}

// nested asks again while it is answered.
type nested struct {
	http.ResponseWriter
	again func()
}

func (n nested) Write(p []byte) (int, error) {
	n.again()
	return n.ResponseWriter.Write(p)
}

func TestOneDownloadAtATime(t *testing.T) {
	r := short(t)
	code := 0
	again := func() { code = get(r, "").Code }
	r.ServeHTTP(nested{httptest.NewRecorder(), again}, httptest.NewRequest(http.MethodGet, "/recording", nil))
	if code != http.StatusTooManyRequests {
		t.Errorf("a second download beside the first is answered by %d", code)
	}
	if again(); code != http.StatusOK {
		t.Errorf("one after it is answered by %d", code)
	}
}

// A download that breaks off must not look like a whole one.
func TestBrokenDownloadIsAborted(t *testing.T) {
	r := short(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		written := 0
		r.ServeHTTP(failing{w, &written}, req)
	}))
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d octets without an error", len(text))
	}
}

type failing struct {
	http.ResponseWriter
	written *int
}

func (f failing) Write(p []byte) (int, error) {
	if *f.written += len(p); *f.written > 100 {
		return 0, errors.New("no more")
	}
	return f.ResponseWriter.Write(p)
}

func TestReaderSaysWhatIsWrong(t *testing.T) {
	var file bytes.Buffer
	if _, err := short(t).WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(file.String(), "\n")
	head, begin, first := lines[0], lines[1], lines[2]
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(file.Bytes())
	_ = z.Close()
	for _, tt := range []struct {
		name, text, want string
	}{
		{"nothing", "", "the recording is empty: fetch it again"},
		{"no JSON", "hello\n", `line 1: want a recording as "detnet record" writes it`},
		{"other JSON", head + `{"a":1}` + "\n", "line 2: want a recording"},
		{"no header", begin, "line 1: want a recording"},
		{"another format", `{"recording":{"format":9,"version":"v9"}}`, "line 1: the recording has format 9, and this version reads 3 to 5: use the detnet that recorded it (v9)"},
		{"no start", head + first, `line 2: want a recording as "detnet record" writes it: the steps of mode "enforce" have no start`},
		{"no cast", head + begin + lines[3], "line 3: want a recording"},
		{"half a line", head + begin + first[:len(first)/2], "line 3: the recording ends too early: fetch it again"},
		{"a line broken in two", head + begin + first[:len(first)/2] + "\n" + lines[3], "line 3: want a recording"},
		{"half of it", packed.String()[:packed.Len()/2], "the recording ends too early: fetch it again"},
		{"a path too many", head + begin + strings.Replace(first, `"samples":[{"of":0`, `"samples":[{"of":99`, 1), "line 3: want a recording as \"detnet record\" writes it: samples of path 99 of 2"},
		{"too many dropped", head + begin + strings.Replace(first, `"rates":[{"of":0`, `"rates":[{"of":0,"drop":1`, 1), "rates of sender 0: 1 of 0 are dropped"},
		{"an odd row", head + begin + strings.Replace(first, `"rows":[[`, `"rows":[[1,2,3],[`, 1), "samples of path 0: a sample of 3 numbers"},
		{"an odd rate", head + begin + strings.Replace(first, `"rates":[{"of":0,"add":[{"rows":[[`, `"rates":[{"of":0,"add":[{"rows":[[1],[`, 1), "rates of sender 0: a rate of 1 numbers"},
	} {
		err := Replay(strings.NewReader(tt.text), asRecorded, func(Replayed) error { return nil })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v\nwant %s", tt.name, err, tt.want)
		}
	}
}

func asRecorded(h Header) (law.Law, error) { return law.New(h.Law, h.Config) }

// FuzzReplay replays what nobody recorded.
func FuzzReplay(f *testing.F) {
	var file bytes.Buffer
	if _, err := short(f).WriteTo(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	lines := bytes.SplitAfter(file.Bytes(), []byte("\n"))
	f.Add(bytes.Join(lines[:3], nil))
	f.Add([]byte(`{"recording":{"format":1,"law":"step"}}` + "\n" + `{"start":{"mode":"x","state":{}}}` + "\n" + `{"step":{"mode":"x","at":"2026-01-01T00:00:00Z","cast":{"apps":[],"senders":[{"Limit":1}]},"limits":[[0,9]],"plan":{}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var news News
		_ = Replay(bytes.NewReader(text), asRecorded, func(r Replayed) error {
			news.Of(r, false)
			return nil
		})
	})
}
