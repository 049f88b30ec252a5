// A choice is sent at once; without this script there is a button for it.

const form = document.getElementById("filter");
document.documentElement.classList.add("scripted");
form.addEventListener("change", () => form.requestSubmit());
form.addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData]) if (!value) formData.delete(name); // keeps the address short
});
