package live

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/freeport"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/live/bundletest"
)

var quiet = slog.New(slog.DiscardHandler)

// A bundle whose server is away, or has something else, is stood in for: by the
// one that was last in force, verified again, or by the default set.
func TestStartWithoutTheServer(t *testing.T) {
	ours, theirs, kept := bundletest.NewSigner(t), bundletest.NewSigner(t), t.TempDir()
	shelf := &shelf{}
	server := httptest.NewServer(shelf)
	begin := func(dir string, withDefault bool) (Start, error) {
		b, err := NewBundle(server.URL, ours.Public, server.Client())
		if err != nil {
			t.Fatal(err)
		}
		return b.KeepIn(dir).Start(far(t), withDefault, quiet)
	}
	shelf.put(ours.Sign(t, everyoneStandard, nil), `"1"`)
	first, err := begin(kept, false)
	if err != nil || first.Instead != "" {
		t.Fatalf("%q, %v", first.Instead, err)
	}
	inForce := first.Engine.Hash()
	want := func(name, instead, why string, start Start, err error) {
		t.Helper()
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case start.Instead != instead || start.Why == nil || !strings.Contains(start.Why.Error(), why):
			t.Errorf("%s: %q stands in because of %v, want %q because of %s", name, start.Instead, start.Why, instead, why)
		case instead == lastGood && start.Engine.Hash() != inForce:
			t.Errorf("%s: the bundle before is lost", name)
		case instead == defaultSet && start.Engine.Hash() != policies.Default().Hash():
			t.Errorf("%s: it is not the default set", name)
		}
	}

	shelf.put(theirs.Sign(t, "package detnet.site\n\nclass := \"critical\"\n", nil), `"2"`)
	start, err := begin(kept, false)
	want("signed by somebody else", lastGood, "signature", start, err)
	shelf.put(ours.Sign(t, "package detnet.site\n\nclass := \"no such\"\n", nil), `"3"`)
	start, err = begin(kept, false)
	want("refused by detnet", lastGood, "no such", start, err)
	start, err = begin(t.TempDir(), true)
	want("refused, and nothing kept", defaultSet, "no such", start, err)
	if start, err := begin(t.TempDir(), false); err == nil {
		t.Errorf("without a fallback %q is in force", start.Instead)
	}
	server.Close()
	server.URL = "http://" + freeport.Addr(t) // what nobody else may have got meanwhile
	start, err = begin(kept, true)
	want("away", lastGood, "refused", start, err)
	start, err = begin("", true)
	want("away, and nothing is ever kept", defaultSet, "refused", start, err)

	// What somebody wrote to the disk is no bundle of ours.
	if err := os.WriteFile(filepath.Join(kept, "bundle.tar.gz"), theirs.Sign(t, everyoneStandard, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	start, err = begin(kept, true)
	want("a forged one kept", defaultSet, "can't stand in", start, err)
}

// What stands in is said until the server's bundle is in force, which is kept.
func TestStandInEnds(t *testing.T) {
	kept, shelf := t.TempDir(), &shelf{content: []byte("nonsense"), etag: `"0"`}
	ours, b := shelf.serve(t)
	start, err := b.KeepIn(kept).Start(far(t), true, quiet)
	if err != nil {
		t.Fatal(err)
	}
	active := NewActive(start.Engine, time.Now(), prometheus.NewRegistry())
	active.StandIn(start.Instead, start.Why)
	if s := active.Status(); s.Instead != defaultSet || s.LastError == "" || testutil.ToFloat64(active.standIn.WithLabelValues(defaultSet)) != 1 {
		t.Errorf("status %+v", s)
	}
	shelf.put(ours.Sign(t, everyoneStandard, nil), `"1"`)
	follow(t, b, active)
	await.Until(t, "the bundle is in effect and kept", func() bool {
		_, err := os.Stat(filepath.Join(kept, "bundle.tar.gz"))
		return err == nil && active.Status().Instead == ""
	})
	if s := active.Status(); s.LastError != "" || testutil.CollectAndCount(active.standIn) != 0 {
		t.Errorf("it still says that something stands in: %+v", s)
	}
	if left, err := filepath.Glob(filepath.Join(kept, "*")); err != nil || len(left) != 1 {
		t.Errorf("kept: %q, %v", left, err)
	}
}

// The server sees the token and the client certificate; nobody else does.
func TestBundleCredentials(t *testing.T) {
	ours, dir := bundletest.NewSigner(t), t.TempDir()
	content := ours.Sign(t, everyoneStandard, nil)
	var elsewhere string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, elsewhere, http.StatusFound)
		case r.Header.Get("Authorization") != "Bearer tok" || len(r.TLS.PeerCertificates) == 0:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = w.Write(content)
		}
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	other := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server was asked, with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	elsewhere = other.URL

	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair := server.TLS.Certificates[0] // the server's own serves as a client's
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	all := Access{
		TokenFile: file("token", []byte("tok")), CAFile: file("ca.crt", cert),
		CertFile: file("tls.crt", cert), KeyFile: file("tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
	fetch := func(a Access, path string) error {
		client, err := a.Client()
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		b, err := NewBundle(server.URL+path, ours.Public, client)
		if err != nil {
			return err
		}
		_, err = b.Fetch(t.Context())
		return err
	}
	if err := fetch(all, ""); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		access Access
		path   string
		want   string
	}{
		"no token":           {Access{CAFile: all.CAFile, CertFile: all.CertFile, KeyFile: all.KeyFile}, "", "401"},
		"no certificate":     {Access{CAFile: all.CAFile, TokenFile: all.TokenFile}, "", "401"},
		"no authority":       {Access{TokenFile: all.TokenFile}, "", "certificate"},
		"referred elsewhere": {all, "/moved", "credentials are not for"},
		"half a pair":        {Access{CertFile: all.CertFile}, "", "go together"},
	} {
		err := fetch(c.access, c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "tok\"") {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
	}
}
