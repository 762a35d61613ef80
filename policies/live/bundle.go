package live

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/bundle"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/policies"
)

// Bounds in bytes: of a bundle and of each file in it, and of all that is packed in it. Whoever
// sends it may be somebody else than who signed it.
const (
	maxBundle   = 4 << 20
	maxUnpacked = 16 << 20
)

// Bundle is a signed OPA bundle behind a URL.
type Bundle struct {
	url    string
	client *http.Client
	verify *bundle.VerificationConfig
	etag   string // of the last one read, "" if the server's is to be read again
	raw    []byte // the last one read, until it is kept
	keeper keeper
}

// keyID stands for the one key, whatever the bundle calls it.
const keyID = "detnet"

// NewBundle returns the bundle at url. Only bundles signed by publicKey, an RSA
// or P-256 key in PEM form, are taken: a policy decides who may limit whom.
func NewBundle(url string, publicKey []byte, client *http.Client) (*Bundle, error) {
	block, _ := pem.Decode(publicKey)
	if block == nil {
		return nil, errors.New("bundle key: no PEM block in it: want a public key, -----BEGIN PUBLIC KEY-----")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("bundle key: %w", err)
	}
	var algorithm string
	switch key.(type) {
	case *rsa.PublicKey:
		algorithm = "RS256"
	case *ecdsa.PublicKey:
		algorithm = "ES256"
	default:
		return nil, fmt.Errorf("bundle key: %T is neither RSA nor P-256", key)
	}
	keys := map[string]*bundle.KeyConfig{keyID: {Key: string(publicKey), Algorithm: algorithm}}
	return &Bundle{url: url, client: client, verify: bundle.NewVerificationConfig(keys, keyID, "", nil)}, nil
}

// KeepIn has the bundle in force written to a directory of this program's own. It
// is for the time before Start.
func (b *Bundle) KeepIn(dir string) *Bundle {
	b.keeper = keeper{dir, "bundle.tar.gz"}
	return b
}

// startPatience is how long a start waits for the server of the bundle.
const startPatience = 10 * time.Second

// Start loads what the server has, or has something stand in.
func (b *Bundle) Start(ctx context.Context, withDefault bool, log *slog.Logger) (Start, error) {
	begun, err := start(ctx, b, withDefault, log)
	if errors.Is(begun.Why, policies.ErrSlow) {
		b.etag = ""
	}
	return begun, err
}

func (b *Bundle) read(ctx context.Context) (policies.Set, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return b.Fetch(ctx)
}

// keep writes the bundle that was fetched last, as the server signed it.
func (b *Bundle) keep() error {
	if b.raw == nil {
		return nil
	}
	err := b.keeper.write(b.raw)
	if err == nil {
		b.raw = nil
	}
	return err
}

// kept reads the bundle that was last in force. Its signature is verified as if
// it came from the server: a disk proves nothing.
func (b *Bundle) kept() (policies.Set, error) {
	raw, err := b.keeper.read(maxBundle + 1)
	if err != nil {
		return nil, err
	}
	return b.open(raw)
}

// errNotModified reports that the server still has the bundle read last.
var errNotModified = errors.New("bundle is not modified")

// Fetch downloads the bundle, verifies its signature and returns its files.
func (b *Bundle) Fetch(ctx context.Context) (policies.Set, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, nil)
	if err != nil {
		return nil, fmt.Errorf("policy bundle: %w", err)
	}
	if b.etag != "" {
		req.Header.Set("If-None-Match", b.etag)
	}
	res, err := b.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("policy bundle: %w", err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		return nil, errNotModified
	default:
		return nil, fmt.Errorf("policy bundle: GET %s: %s", b.url, res.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("policy bundle: read the answer of %s: %w", b.url, err)
	}
	set, err := b.open(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: bundle %s: %w", policies.ErrPolicy, b.url, err)
	}
	b.etag, b.raw = res.Header.Get("ETag"), raw
	return set, nil
}

func (b *Bundle) open(raw []byte) (policies.Set, error) {
	if err := fits(raw); err != nil {
		return nil, err
	}
	content, err := bundle.NewReader(bytes.NewReader(raw)).
		WithBundleVerificationConfig(b.verify).
		WithSizeLimitBytes(maxBundle).
		WithProcessAnnotations(true).
		Read()
	if err != nil {
		return nil, err
	}
	set := policies.Set{}
	for _, m := range content.Modules {
		set[fileName(m.Path)] = string(m.Raw)
	}
	if len(content.Data) > 0 {
		data, err := yaml.Marshal(content.Data)
		if err != nil {
			return nil, err
		}
		set["data.yaml"] = string(data)
	}
	return set, nil
}

// fits is an error where a bundle is too large, which is told before anything of it is kept.
func fits(raw []byte) error {
	if len(raw) > maxBundle {
		return fmt.Errorf("it has more than %d MiB: leave out data that no rule reads", maxBundle>>20)
	}
	packed, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("it is no .tar.gz, as \"opa build\" writes it: %w", err)
	}
	if n, _ := io.Copy(io.Discard, io.LimitReader(packed, maxUnpacked+1)); n > maxUnpacked { // who reads it says what is broken
		return fmt.Errorf("it has more than %d MiB when unpacked: leave out data that no rule reads", maxUnpacked>>20)
	}
	return nil
}

// fileName is a path inside a bundle as the name of a file of a set.
func fileName(path string) string {
	return strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "_")
}

// Follow fetches the bundle every interval and puts it in force over the
// default set, until ctx ends. A server that is away changes nothing. A bundle that
// took too long is tried again.
func (b *Bundle) Follow(ctx context.Context, every time.Duration, active *Active, log *slog.Logger, refused func(error)) error {
	timer := time.NewTimer(every)
	defer timer.Stop()
	last, next := active.Engine().Hash(), every
	for ; ; timer.Reset(next) {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		pause := next
		next = every
		site, err := b.Fetch(ctx)
		switch {
		case errors.Is(err, errNotModified), ctx.Err() != nil:
		case errors.Is(err, policies.ErrPolicy):
			active.refuse(err)
			log.Error("policy bundle refused; the last good one stays", "err", err)
			refused(err)
		case err != nil:
			log.Warn("policy bundle is out of reach; the set in force stays", "err", err)
		default:
			last = active.take(ctx, site, log, refused, last)
			switch {
			case active.hasInForce(site):
				keepOrWarn(b, log)
			case last == untried:
				b.etag, next = "", min(2*pause, max(every, lastRetry))
			}
		}
	}
}
