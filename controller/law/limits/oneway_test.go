package limits

import (
	"testing"

	"github.com/detnet/detnet/internal/deptest"
)

func TestFilesNeedEachOtherOneWay(t *testing.T) { deptest.OneWay(t) }
