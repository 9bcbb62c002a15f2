// The conversation stays at its end while an answer grows, unless its reader has gone up.

const NEAR = 80;

export class Scroll {
  constructor(talk, down) {
    this.talk = talk;
    this.down = down;
    this.follows = true;
    talk.addEventListener("scroll", () => this.look(), { passive: true });
    down.addEventListener("click", () => {
      this.toEnd();
      talk.focus({ preventScroll: true });
    });
    new ResizeObserver(() => this.follows && this.toEnd()).observe(talk);
  }

  look() {
    const { scrollHeight, scrollTop, clientHeight } = this.talk;
    this.follows = scrollHeight - scrollTop - clientHeight < NEAR;
    this.down.hidden = this.follows;
  }

  grown() {
    if (this.follows) this.toEnd();
    else this.look();
  }

  toEnd() {
    this.talk.scrollTop = this.talk.scrollHeight;
    this.follows = true;
    this.down.hidden = true;
  }
}

// Tells a screen reader what happens, in whole sentences and one after the other.
export class Announcer {
  constructor(region) {
    this.region = region;
  }

  say(text) {
    if (!text) return;
    const line = document.createElement("span");
    line.textContent = `${text} `;
    this.region.append(line);
    while (this.region.childElementCount > 12) this.region.firstElementChild.remove();
  }
}
