package cachestore

import "os"

// Pin keeps blob k from being given back until by, a name of the caller's
// choosing such as a dataset's id, unpins it. A pin holds for every process,
// and across restarts and the loss of the index.
func (s *Store) Pin(k, by Key) error {
	f, err := openFile(s.dir().pins, pinName(k, by), os.O_CREATE|os.O_RDONLY)
	if err != nil {
		return err
	}
	return f.Close()
}

// Unpin takes a pin back; that there is none is no error.
func (s *Store) Unpin(k, by Key) error {
	return remove(s.dir().pins, pinName(k, by))
}

// Pins returns who has pinned blob k.
func (s *Store) Pins(k Key) (by []Key, err error) {
	names, err := readNames(s.dir().pins)
	for _, name := range names {
		if blob, who, ok := parsePin(name); ok && blob == k {
			by = append(by, who)
		}
	}
	return by, err
}

func pinName(k, by Key) string { return blobName(k) + "-" + blobName(by) }

func parsePin(name string) (k, by Key, ok bool) {
	if len(name) != 129 || name[64] != '-' {
		return k, by, false
	}
	k, ok = parseName(name[:64])
	by, ok2 := parseName(name[65:])
	return k, by, ok && ok2
}

// readPins returns how many pins each blob has.
func (d *dir) readPins() (map[Key]int, error) {
	names, err := readNames(d.pins)
	pins := make(map[Key]int)
	for _, name := range names {
		if k, _, ok := parsePin(name); ok {
			pins[k]++
		}
	}
	return pins, err
}

// readPins brings keep.pins up to date. If they cannot be read those known
// hold.
func (s *Store) readPins() {
	if pins, err := s.dir().readPins(); err == nil {
		s.keep.pins = pins
	}
}
