// A file of its own, because the page's CSP allows no script inside HTML.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null, // nothing of this page is sent to another server
});
