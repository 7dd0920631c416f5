// A token, asked for when the service refuses without one. It stays in this tab's session storage.

import { hasToken, useToken } from "./api.js";

const WANTED = "It is kept in this tab only, until the tab is closed.";
const WRONG = "The service does not accept this token. Look at how it was started, and try again.";

export class Token {
  #form;
  #field;
  #said;

  /** ``given()`` is called once a token was entered. */
  constructor(form, given) {
    this.#form = form;
    this.#field = form.querySelector("input");
    this.#said = form.querySelector(".small");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.#field.value.trim()) return;
      useToken(this.#field.value);
      given();
    });
  }

  /** Show the field; a token that was sent and refused is said to be wrong. */
  ask() {
    const wrong = hasToken();
    this.#said.textContent = wrong ? WRONG : WANTED;
    this.#said.classList.toggle("wrong", wrong);
    document.body.classList.add("locked");
    this.#form.hidden = false;
    this.#field.select();
    this.#field.focus();
  }

  /** The service answers: nothing to ask for. */
  accepted() {
    this.#form.hidden = true;
    this.#field.value = "";
    document.body.classList.remove("locked");
  }
}
