package probe

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/internal/plainfile"
)

// Keyring is the secrets of STAMP's authenticated mode, read from a file that
// may change while it is in use: one secret a line, at most two, as text or as
// hex:… or base64:…; lines that begin with # are comments. The first
// signs, each verifies; a rotation adds the new secret behind the old one
// everywhere, then swaps the two, then drops the old one. It is not safe for
// concurrent use. Those of Secrets follow what was handed over instead of a file.
type Keyring struct {
	// Refused is told once when the file cannot be used any more; nil: nobody is.
	Refused func(error)

	from    *Secrets // nil: path
	taken   uint64   // of from
	path    string
	read    []byte
	keys    []*stamp.Key
	lookAt  time.Time
	refused bool
}

const (
	maxKeys  = 2
	rereadIn = 5 * time.Second
)

// OpenKeyring reads path.
func OpenKeyring(path string) (*Keyring, error) {
	k := &Keyring{path: path}
	if err := k.reread(); err != nil {
		return nil, err
	}
	return k, nil
}

// Keys returns the keys as the file had them at most five seconds before now. A
// file that cannot be used any more leaves the last good keys in force.
func (k *Keyring) Keys(now time.Time) []*stamp.Key {
	if k == nil {
		return nil
	}
	if k.from != nil {
		k.keys, k.taken = k.from.since(k.taken, k.keys)
		return k.keys
	}
	if now.After(k.lookAt) {
		k.lookAt = now.Add(rereadIn)
		err := k.reread()
		if err != nil && !k.refused && k.Refused != nil {
			k.Refused(err)
		}
		k.refused = err != nil
	}
	return k.keys
}

func (k *Keyring) reread() error {
	content, err := plainfile.Read(k.path)
	if err != nil {
		return fmt.Errorf("read the STAMP keys: %w", err)
	}
	if k.keys != nil && bytes.Equal(content, k.read) {
		return nil
	}
	var keys []*stamp.Key
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		secret, err := secretOf(string(line))
		if err != nil {
			return fmt.Errorf("read the STAMP keys in %s: key %d: %w", k.path, len(keys)+1, err)
		}
		key, err := stamp.NewKey(secret)
		if err != nil {
			return fmt.Errorf("read the STAMP keys in %s: key %d: %w", k.path, len(keys)+1, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return fmt.Errorf("read the STAMP keys in %s: %d keys, want one or two, each on a line", k.path, len(keys))
	}
	k.read, k.keys = content, keys
	return nil
}

// secretOf reads a line of the file. What is wrong with it is said without it.
func secretOf(line string) ([]byte, error) {
	if text, ok := strings.CutPrefix(line, "hex:"); ok {
		secret, err := hex.DecodeString(text)
		if err != nil {
			return nil, errors.New("what follows hex: is not pairs of hexadecimal digits")
		}
		return secret, nil
	}
	if text, ok := strings.CutPrefix(line, "base64:"); ok {
		secret, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("what follows base64: is not standard base64 with its padding")
		}
		return secret, nil
	}
	return []byte(line), nil
}
