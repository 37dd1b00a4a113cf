// Sends what the page asks for, with the secret that the link holds behind its `#`.
const secret = location.hash.slice(1);
const said = document.getElementById("said");
const form = document.getElementById("setup");
history.replaceState(null, "", location.pathname);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = { secret, username: form.username.value, password: form.password.value };
  if (form.email.value) body.email = form.email.value;
  said.textContent = "One moment.";
  try {
    const answer = await fetch("/v1/setup", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
    const reply = await answer.json();
    said.textContent = answer.ok
      ? `Done: ${reply.username} administers this cluster. Sign in at POST /api/v1/auth/token.`
      : reply.detail;
    if (answer.ok) form.remove();
  } catch {
    said.textContent = "This node does not answer. Try again.";
  }
});
