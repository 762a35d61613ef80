package probe

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/detnet/detnet/agent/probe/stamp"
)

// Secrets are what several rings are made of: the newest secrets that were
// handed over, so that those in use before still count while a new one spreads.
// It is safe for concurrent use; each goroutine has a ring of its own.
type Secrets struct {
	mu      sync.Mutex
	secrets [][]byte // the newest first
	changes uint64
}

const (
	// maxSecrets are those of the controller that leads, of the one that led, and
	// of others that look on.
	maxSecrets    = 4
	maxSecretSize = 64
)

// Take makes secret the one that signs. The error does not contain it.
func (s *Secrets) Take(secret []byte) error {
	if n := len(secret); n < stamp.MinKeySize || n > maxSecretSize {
		return fmt.Errorf("a STAMP key of %d octets: want %d to %d", n, stamp.MinKeySize, maxSecretSize)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.secrets) > 0 && bytes.Equal(s.secrets[0], secret) {
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(s.secrets), func(other []byte) bool { return bytes.Equal(other, secret) })
	s.secrets = append([][]byte{bytes.Clone(secret)}, others[:min(len(others), maxSecrets-1)]...)
	s.changes++
	return nil
}

// Ring returns a ring of the secrets, which follows them. It is empty before the
// first.
func (s *Secrets) Ring() *Keyring { return &Keyring{from: s} }

// since returns the keys after more than taken changes, else those it is given.
func (s *Secrets) since(taken uint64, keys []*stamp.Key) ([]*stamp.Key, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == taken {
		return keys, taken
	}
	keys = make([]*stamp.Key, 0, len(s.secrets))
	for _, secret := range s.secrets {
		if key, err := stamp.NewKey(secret); err == nil { // always: Take has looked
			keys = append(keys, key)
		}
	}
	return keys, s.changes
}
