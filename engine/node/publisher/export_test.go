package publisher

import "time"

// Hurry makes p try again soon.
func (p *sender) Hurry() { p.wait = time.Millisecond }
