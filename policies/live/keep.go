package live

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// keeper keeps a file in a directory of this program's own; "" keeps nothing.
type keeper struct{ dir, name string }

// unfinished is what a write that does not end leaves behind, for the next one to write over.
func (k keeper) unfinished() string { return filepath.Join(k.dir, k.name+".new") }

// write replaces the file in one step.
func (k keeper) write(raw []byte) error {
	if k.dir == "" {
		return nil
	}
	f, err := os.OpenFile(k.unfinished(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("keep the policy: %w", err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(k.dir, k.name))
	}
	if err != nil {
		return fmt.Errorf("keep the policy: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// read is of a file of at most that many bytes; what is longer is cut short.
func (k keeper) read(most int64) ([]byte, error) {
	if k.dir == "" {
		return nil, os.ErrNotExist
	}
	f, err := os.Open(filepath.Join(k.dir, k.name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("read the policy that was kept: %w", err)
	}
	return raw, nil
}
